package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/fsm/catalog"
)

var (
	tallyLabels = []string{"status", "folder", "project", "package"}
	endedDesc   = prometheus.NewDesc("scaleout_executions_ended_total",
		"Executions that have ended, as the state counts them: the same on every master, so take the max over masters and "+
			"not the sum.",
		tallyLabels, nil)
	lastEndedDesc = prometheus.NewDesc("scaleout_executions_last_ended_timestamp_seconds",
		"When an execution of the package ended with the status last; the same on every master.", tallyLabels, nil)
	durationDesc = prometheus.NewDesc("scaleout_execution_duration_seconds",
		"From the first attempt of an execution to its end; the same on every master.", []string{"status"}, nil)
	queuedDesc = prometheus.NewDesc("scaleout_execution_queue_seconds",
		"From start_execution to the first attempt, or to the end of an execution without one; the same on every master.",
		nil, nil)
)

// executions are what the state has counted.
type executions struct{ cfg Config }

// Describe implements prometheus.Collector.
func (executions) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{endedDesc, lastEndedDesc, durationDesc, queuedDesc} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (g executions) Collect(c chan<- prometheus.Metric) {
	select {
	case <-g.cfg.CaughtUp:
	default:
		// A master that still applies what it has missed shows lower counts than before its restart. Prometheus takes a
		// counter that falls for one that has begun anew, and would add all of it once more.
		return
	}
	for _, m := range executionCounts(g.cfg.State.Reader()) {
		c <- m
	}
}

func executionCounts(reader *catalog.Reader) (out []prometheus.Metric) {
	for t := range reader.Tallies() {
		for i, n := range t.Ended {
			labels := []string{statusLabel(i), text(t.Folder), text(t.Project), text(t.Package)}
			out = append(out, prometheus.MustNewConstMetric(endedDesc, prometheus.CounterValue, float64(n), labels...))
			if last := t.Last[i]; last != 0 {
				out = append(out, prometheus.MustNewConstMetric(lastEndedDesc, prometheus.GaugeValue, float64(last)/1e9, labels...))
			}
		}
	}
	totals := reader.Totals()
	for i := range totals.Duration {
		out = append(out, histogram(durationDesc, &totals.Duration[i], statusLabel(i)))
	}
	return append(out, histogram(queuedDesc, &totals.Queued))
}

func histogram(d *prometheus.Desc, h *catalog.Histogram, labels ...string) prometheus.Metric {
	buckets, count := map[float64]uint64{}, uint64(0)
	for i, bound := range catalog.HistogramBounds {
		count += uint64(h.Counts[i])
		buckets[bound.Seconds()] = count
	}
	count += uint64(h.Counts[len(catalog.HistogramBounds)])
	return prometheus.MustNewConstHistogram(d, count, float64(h.SumMs)/1000, buckets, labels...)
}

// statusLabel returns the word of an ending as one word.
func statusLabel(ending int) string {
	return strings.ReplaceAll(catalog.Endings[ending].String(), " ", "_")
}

// text makes a name a label's value: Prometheus accepts nothing but UTF-8.
func text(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }
