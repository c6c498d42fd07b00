package backup

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/cluster"
	"scaleout/cluster/blobs"
	"scaleout/fsm"
)

// Node is this master's node of the cluster.
type Node interface {
	Now() time.Time
	// CaughtUp is closed once the state holds what the cluster had committed when this master started.
	CaughtUp() <-chan struct{}
	RestoreReady(ctx context.Context, level int) (cluster.LogPosition, error)
	SpreadKeyRing(ctx context.Context) error
	Install(ctx context.Context, at cluster.LogPosition, size int64, snapshot io.Reader, check func() error) error
}

// Blobs is the blobs of all masters.
type Blobs interface {
	Open(ctx context.Context, digest string) (blobs.Blob, error)
	Put(ctx context.Context, digest string, r io.Reader) (int64, error)
}

// KeyRing is this master's key ring. Merge takes over keys from another one and keeps them on disk.
type KeyRing interface {
	Marshal() ([]byte, error)
	Merge(raw []byte) error
}

// Config is what a Backups needs.
type Config struct {
	State    *fsm.FSM
	Node     Node
	Blobs    Blobs
	KeyRing  KeyRing
	Spool    string // folder for the temporary files of a restore
	Master   string // name of this master
	Version  string
	Schedule Schedule

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Backups saves and restores backups of one master.
type Backups struct {
	cfg       Config
	log       *slog.Logger
	restoring sync.Mutex
	last      prometheus.Gauge
	failures  prometheus.Counter
}

// New registers the metrics. It reads and writes no file.
func New(cfg Config) *Backups {
	b := &Backups{
		cfg: cfg, log: cfg.Logger,
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "scaleout_backup_last_success_timestamp_seconds",
			Help: "When this master wrote the newest of its scheduled backups; 0 without one.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scaleout_backup_failures_total", Help: "Scheduled backups of this master that failed.",
		}),
	}
	cfg.Registerer.MustRegister(b.last, b.failures)
	return b
}
