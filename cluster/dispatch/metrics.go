package dispatch

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/fsm/command"
)

type metrics struct {
	lost    prometheus.Counter
	latency prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scaleout_attempts_lost_total", Help: "Attempts that this leader declared lost.",
		}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "scaleout_dispatch_latency_seconds", Help: "From ready to granted.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}),
	}
	if r != nil {
		r.MustRegister(m.lost, m.latency)
	}
	return m
}

var (
	pendingDesc = prometheus.NewDesc("scaleout_tasks_pending", "Pending tasks by reason, on the leader.",
		[]string{"reason"}, nil)
	oldestDesc = prometheus.NewDesc("scaleout_task_oldest_ready_age_seconds",
		"Age of the oldest ready task, on the leader.", nil, nil)
	workersDesc = prometheus.NewDesc("scaleout_workers", "Workers by state, on the leader.", []string{"state"}, nil)
	slackDesc   = prometheus.NewDesc("scaleout_lease_slack_seconds", "Time until the next lease ends, on the leader.", nil,
		nil)
	leasesDesc = prometheus.NewDesc("scaleout_leases", "Attempts that workers hold, on the leader.", nil, nil)
)

// Describe implements prometheus.Collector.
func (d *Dispatcher) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{pendingDesc, oldestDesc, workersDesc, slackDesc, leasesDesc} {
		ch <- desc
	}
}

// countedTasks bounds the work of one scrape: reasons are counted over so many pending tasks.
const countedTasks = 1000

// Collect implements prometheus.Collector. Series that only a leader knows are zero elsewhere.
func (d *Dispatcher) Collect(ch chan<- prometheus.Metric) {
	reasons := map[string]float64{}
	for _, code := range []string{
		command.ReasonNoWorkerEnabled, command.ReasonNoWorkerOnline, command.ReasonNoWorkerCanRun,
		command.ReasonWorkersBusy, command.ReasonSelectedWorkersOffline, command.ReasonSelectedWorkersBusy,
		command.ReasonRetryWait, command.ReasonHandedBack, command.ReasonStarting,
	} {
		reasons[command.ReasonName(code)] = 0
	}
	states := map[string]float64{"online": 0, "offline": 0, "disabled": 0}
	var oldest, slack, leases float64
	now := time.Now()
	d.mu.Lock()
	if q := d.queue; q != nil {
		counted, reason := 0, q.reasonNames(now)
		for _, t := range q.tasks {
			if age := now.Sub(t.ready).Seconds(); !t.waiting && age > oldest {
				oldest = age
			}
			if counted++; counted <= countedTasks {
				reasons[reason(t)]++
			}
		}
		for _, w := range q.workers {
			switch {
			case w.row == nil:
			case !w.row.Enabled:
				states["disabled"]++
			case w.online(now):
				states["online"]++
			default:
				states["offline"]++
			}
		}
		if at, ok := q.nextDeadline(); ok {
			slack = at.Sub(now).Seconds()
		}
		leases = float64(len(q.leases))
	}
	d.mu.Unlock()
	for code, n := range reasons {
		ch <- prometheus.MustNewConstMetric(pendingDesc, prometheus.GaugeValue, n, code)
	}
	for state, n := range states {
		ch <- prometheus.MustNewConstMetric(workersDesc, prometheus.GaugeValue, n, state)
	}
	ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, oldest)
	ch <- prometheus.MustNewConstMetric(slackDesc, prometheus.GaugeValue, slack)
	ch <- prometheus.MustNewConstMetric(leasesDesc, prometheus.GaugeValue, leases)
}
