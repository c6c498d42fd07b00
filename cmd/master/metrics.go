package master

import (
	"context"
	"math"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"scaleout/cluster/pki"
	"scaleout/fsm/command"
)

var (
	buildDesc = prometheus.NewDesc("scaleout_build_info", "1; the labels say what runs.",
		[]string{"version", "goversion", "feature_level"}, nil)
	readyDesc = prometheus.NewDesc("scaleout_ready", "1 where /readyz answers 200.", nil, nil)
	certDesc  = prometheus.NewDesc("scaleout_cert_expiry_timestamp_seconds",
		"When a certificate of this master ends: its own (kind leaf), and each CA that it trusts (kind ca).",
		[]string{"kind", "thumbprint"}, nil)
	freeDesc = prometheus.NewDesc("scaleout_disk_free_bytes", "What may still be written below the data directory.",
		nil, nil)
	missingDesc = prometheus.NewDesc("scaleout_blobs_missing", "Blobs that are named and not on this master's disk.",
		nil, nil)
	damagedDesc = prometheus.NewDesc("scaleout_blobs_damaged_total",
		"Blobs that were found damaged on this master's disk.", nil, nil)
)

// gauges are what the master itself knows; they are read when asked for.
type gauges struct{ m *Master }

// Describe implements prometheus.Collector.
func (gauges) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildDesc, readyDesc, certDesc, freeDesc, missingDesc, damagedDesc} {
		c <- d
	}
}

// scrapeTime bounds what a scrape waits for.
const scrapeTime = time.Second

// Collect implements prometheus.Collector.
func (g gauges) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	m := g.m
	gauge(buildDesc, 1, m.cfg.Version, runtime.Version(), strconv.Itoa(int(command.Level)))
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	ready := 0.0
	if m.Waiting(ctx) == "" {
		ready = 1
	}
	gauge(readyDesc, ready)
	// SHA-256 without repeats: two CAs with one print are one certificate, and a series may not come twice.
	seen := map[string]bool{}
	_, print := pki.Thumbprints(m.creds.Leaf())
	gauge(certDesc, float64(m.creds.NotAfter().Unix()), "leaf", print)
	for _, ca := range m.creds.CAs() {
		if _, print := pki.Thumbprints(ca); !seen[print] {
			seen[print] = true
			gauge(certDesc, float64(ca.NotAfter.Unix()), "ca", print)
		}
	}
	free := math.NaN() // a disk that does not answer is no full one
	if n, err := m.dir.Free(); err == nil {
		free = float64(n)
	}
	gauge(freeDesc, free)
	gauge(missingDesc, float64(m.keeper.Missing()))
	c <- prometheus.MustNewConstMetric(damagedDesc, prometheus.CounterValue, float64(m.keeper.DamagedSinceStart()))
}

// measure adds the master's own metrics, and those of the process and the runtime.
func (m *Master) measure(r prometheus.Registerer) {
	r.MustRegister(gauges{m}, executionMetrics{m}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}
