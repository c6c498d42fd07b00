package fsm

import (
	"github.com/prometheus/client_golang/prometheus"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// metrics shows the state machine to Prometheus; sizes are read when asked for.
type metrics struct {
	fsm      *FSM
	commands *prometheus.CounterVec
	events   *prometheus.CounterVec
}

var (
	indexDesc = prometheus.NewDesc("scaleout_fsm_applied_index", "Index of the last log entry that changed the state.",
		nil, nil)
	levelDesc  = prometheus.NewDesc("scaleout_fsm_feature_level", "Feature level of the state.", nil, nil)
	rowsDesc   = prometheus.NewDesc("scaleout_fsm_rows", "Rows of the state by table.", []string{"table"}, nil)
	failedDesc = prometheus.NewDesc("scaleout_fsm_failed", "1 when the state machine stands still.", nil, nil)
)

func newMetrics(f *FSM) *metrics {
	m := &metrics{fsm: f, commands: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scaleout_fsm_commands_total", Help: "Commands applied by this node, by kind and outcome.",
	}, []string{"kind", "outcome"}), events: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scaleout_events_total", Help: "Events that this node's state has seen since the process started, by type.",
	}, []string{"type"})}
	for _, t := range catalog.EventTypes() {
		m.events.WithLabelValues(t.Name)
	}
	for _, spec := range command.Kinds() {
		for _, outcome := range []string{"applied", "rejected"} {
			m.commands.WithLabelValues(spec.Name, outcome)
		}
	}
	return m
}

func (m *metrics) count(kind command.Kind, r command.Result) {
	outcome := "applied"
	if r.Rejection != nil {
		outcome = "rejected"
	}
	m.commands.WithLabelValues(kind.String(), outcome).Inc()
}

func (m *metrics) happened(events []catalog.Event) {
	for i := range events {
		m.events.WithLabelValues(events[i].Kind().Name).Inc()
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(c chan<- *prometheus.Desc) {
	m.commands.Describe(c)
	m.events.Describe(c)
	for _, d := range []*prometheus.Desc{indexDesc, levelDesc, rowsDesc, failedDesc} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	m.commands.Collect(c)
	m.events.Collect(c)
	reader, failed := m.fsm.Reader(), 0.0
	if m.fsm.Err() != nil {
		failed = 1
	}
	c <- prometheus.MustNewConstMetric(indexDesc, prometheus.GaugeValue, float64(reader.Index()))
	c <- prometheus.MustNewConstMetric(levelDesc, prometheus.GaugeValue, float64(reader.Level()))
	c <- prometheus.MustNewConstMetric(failedDesc, prometheus.GaugeValue, failed)
	for table, n := range reader.Counts() {
		c <- prometheus.MustNewConstMetric(rowsDesc, prometheus.GaugeValue, float64(n), table)
	}
}
