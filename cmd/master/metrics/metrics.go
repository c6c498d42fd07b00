package metrics

import (
	"context"
	"crypto/x509"
	"math"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"scaleout/cluster/pki"
	"scaleout/fsm/catalog"
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

// Config is what the metrics are read from.
type Config struct {
	Version      string
	Ready        func(ctx context.Context) bool
	Credentials  Credentials
	FreeBytes    func() (uint64, error) // of the data directory
	MissingBlobs func() int
	DamagedBlobs func() int // since the start
	State        State
	CaughtUp     <-chan struct{}
}

// Credentials is the certificates of a master.
type Credentials interface {
	Leaf() *x509.Certificate
	NotAfter() time.Time
	CAs() []*x509.Certificate
}

// State is the replicated state.
type State interface {
	Reader() *catalog.Reader
}

// Register registers the metrics of a master, and those of the process and the Go runtime.
func Register(r prometheus.Registerer, cfg Config) {
	r.MustRegister(gauges{cfg}, executions{cfg}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// gauges are what the master itself knows.
type gauges struct{ cfg Config }

// Describe implements prometheus.Collector.
func (gauges) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildDesc, readyDesc, certDesc, freeDesc, missingDesc, damagedDesc} {
		c <- d
	}
}

// scrapeTimeout bounds what a scrape waits for.
const scrapeTimeout = time.Second

// Collect implements prometheus.Collector.
func (g gauges) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(buildDesc, 1, g.cfg.Version, runtime.Version(), strconv.Itoa(command.Level))
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	ready := 0.0
	if g.cfg.Ready(ctx) {
		ready = 1
	}
	gauge(readyDesc, ready)
	// The label is the SHA-256. Two CAs with one SHA-256 are one certificate, and a series may not occur twice.
	seen := map[string]bool{}
	_, print := pki.Thumbprints(g.cfg.Credentials.Leaf())
	gauge(certDesc, float64(g.cfg.Credentials.NotAfter().Unix()), "leaf", print)
	for _, ca := range g.cfg.Credentials.CAs() {
		if _, print := pki.Thumbprints(ca); !seen[print] {
			seen[print] = true
			gauge(certDesc, float64(ca.NotAfter.Unix()), "ca", print)
		}
	}
	free := math.NaN() // a disk that does not answer is not a full one
	if n, err := g.cfg.FreeBytes(); err == nil {
		free = float64(n)
	}
	gauge(freeDesc, free)
	gauge(missingDesc, float64(g.cfg.MissingBlobs()))
	c <- prometheus.MustNewConstMetric(damagedDesc, prometheus.CounterValue, float64(g.cfg.DamagedBlobs()))
}
