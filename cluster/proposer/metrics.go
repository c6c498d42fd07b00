package proposer

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/fsm/command"
)

// Metrics measures the proposals of one process, across all its leaderships.
type Metrics struct {
	proposals *prometheus.HistogramVec // by kind and outcome
	commands  prometheus.Histogram     // per entry
	bytes     prometheus.Histogram     // per entry
}

// NewMetrics makes Metrics. It registers nothing: see Collectors.
func NewMetrics() *Metrics {
	return &Metrics{
		proposals: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "scaleout_raft_propose_seconds", Help: "Time from proposing a command to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"kind", "outcome"}),
		commands: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "scaleout_raft_entry_commands", Help: "Commands per log entry.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		bytes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "scaleout_raft_entry_bytes", Help: "Size of log entries.",
			Buckets: prometheus.ExponentialBuckets(64, 4, 8),
		}),
	}
}

// Collectors returns what a registry must be given so that the metrics are seen.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.proposals, m.commands, m.bytes}
}

func (m *Metrics) proposed(kind string, err error, took time.Duration) {
	outcome := "applied"
	switch {
	case errors.Is(err, command.ErrUnknownOutcome):
		outcome = "unknown"
	case err != nil:
		outcome = "not_applied"
	}
	m.proposals.WithLabelValues(kind, outcome).Observe(took.Seconds())
}

func (m *Metrics) entry(commands, size int) {
	m.commands.Observe(float64(commands))
	m.bytes.Observe(float64(size))
}
