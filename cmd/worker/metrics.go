package worker

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the worker's Prometheus metrics.
type metrics struct {
	reg       prometheus.Registerer
	all       []prometheus.Collector
	outcomes  *prometheus.CounterVec
	exchanges *prometheus.CounterVec
}

func newMetrics(w *Worker) (*metrics, error) {
	m := &metrics{
		reg: w.cfg.Registerer,
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scaleout_worker_attempts_total", Help: "Attempts that ended here, by outcome.",
		}, []string{"outcome"}),
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scaleout_worker_exchanges_total", Help: "Exchanges and registrations, by result.",
		}, []string{"result"}),
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		opts := prometheus.GaugeOpts{Name: name, Help: help}
		return prometheus.NewGaugeFunc(opts, func() float64 { return float64(value()) })
	}
	m.all = []prometheus.Collector{
		m.outcomes, m.exchanges,
		gauge("scaleout_worker_attempts_running", "Attempts that this worker holds.",
			func() int { return len(w.heldAttempts()) }),
		gauge("scaleout_worker_reports_waiting", "Final reports that no master has taken yet.",
			func() int { _, n, _ := w.spool.Idle(); return n }),
		gauge("scaleout_worker_messages_waiting", "Attempts with messages that no master has taken yet.",
			func() int { _, _, n := w.spool.Idle(); return n }),
	}
	if m.reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range m.all {
		errs = append(errs, m.reg.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) unregister() {
	if m.reg != nil {
		for _, c := range m.all {
			m.reg.Unregister(c)
		}
	}
}

func (m *metrics) ended(outcome string) { m.outcomes.WithLabelValues(outcome).Inc() }

func (m *metrics) exchanged(err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.exchanges.WithLabelValues(result).Inc()
}
