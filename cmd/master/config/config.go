package config

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/cluster"
	"scaleout/cluster/backup"
	"scaleout/cluster/gossip"
	"scaleout/cluster/pki"
	"scaleout/cluster/transport"
	"scaleout/fsm/procedure"
	"scaleout/httpapi"
	"scaleout/store"
)

// Config is the settings of one master.
type Config struct {
	Name             string // NodeName; empty: the name in the certificate
	DataDirectory    string
	BindAddress      string // IP address; empty: all
	Port             int    // PortNumber; 0 with Listener
	GossipPort       int
	AdvertiseAddress string // host or host:port; empty: the host name
	RetryJoin        []string
	BootstrapExpect  int
	Files            pki.Files
	GossipKeyFile    string
	KeyRingFile      string // imported at the first start
	Thumbprint       string // SSLCertThumbprint
	InstanceName     string
	Timing           string // lan, fast or wan

	Heartbeat       time.Duration // MasterHeartbeatIntervalInMs
	Expiry          time.Duration // DealWithExpiredTasksIntervalInMs
	Cleanup         time.Duration // CleanupCompletedJobsIntervalInMs
	RetryDelay      time.Duration // RetryDelayInMs
	RemoveDead      time.Duration // RemoveDeadMastersAfterInMs; 0: never
	MaxProjectBytes int64
	// MaxUnnamedBlobBytes is how much one certificate name may have uploaded that no project names.
	MaxUnnamedBlobBytes int64
	MetricsOpen         bool
	Limits              httpapi.Limits // of one caller, at this master
	// CatalogLimits hold for the cluster: the leader's count.
	CatalogLimits      procedure.Limits
	ExpireNeverEnabled time.Duration // ExpireNeverEnabledAfterInMs

	// Connections bound the inbound connections of the port; zero values mean defaults.
	Connections transport.Limits
	Gossip      gossip.Limits
	Times       Times

	// Backups is the schedule of this master's own backups.
	Backups backup.Schedule

	Version string
	Logger  *slog.Logger
	// Exit ends the process: 75 when the disk stalls, 78 when the state machine met an entry that it does not know.
	Exit func(code int)
	// Registerer and Gatherer of /metrics; nil: a registry of this master's own.
	Registry *prometheus.Registry

	// What follows is for tests.

	Listener net.Listener                                                      // in place of BindAddress and Port
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error) // to other masters
	Store    store.Options                                                     // WrapLog
	Now      func() time.Time                                                  // wall clock
	Timings  *cluster.Timing                                                   // in place of Timing

	Snapshots *cluster.Snapshots                         // when the log is cut
	Promote   func(ctx context.Context, id string) error // asked before a non-voter's blobs are
}

// Times bound how long requests may take to come and connections to be idle; zero means the default of httpapi.
type Times struct {
	Head         time.Duration // RequestHeadTimeoutInMs
	Body         time.Duration // RequestBodyTimeoutInMs
	Idle         time.Duration // IdleTimeoutInMs
	IdleStranger time.Duration // IdleTimeoutWithoutCertificateInMs; 0: 10 s
	UploadRate   int64         // MinUploadBytesPerSecond
}

// The defaults of MasterSettings.config.
const (
	DefaultPort            = 8391
	DefaultGossipPort      = 8392
	DefaultHeartbeat       = 30 * time.Second
	DefaultExpiry          = 5 * time.Minute
	DefaultCleanup         = 12 * time.Hour
	DefaultRetryDelay      = 5 * time.Second
	DefaultMaxProjectBytes = 512 << 20
	DefaultMaxUnnamedBytes = 2 << 30
	DefaultIdleStranger    = 10 * time.Second

	DefaultNotStarted         = 20_000
	DefaultTaskCount          = 1000
	DefaultAgentIDs           = 64
	DefaultNeverEnabled       = 10_000
	DefaultExpireNeverEnabled = 24 * time.Hour

	DefaultBackupInterval = 24 * time.Hour
	DefaultBackupRetain   = 7
)

// Fill gives every setting that is zero its default.
func (c *Config) Fill() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Heartbeat, DefaultHeartbeat)
	set(&c.Expiry, DefaultExpiry)
	set(&c.Cleanup, DefaultCleanup)
	set(&c.RetryDelay, DefaultRetryDelay)
	set(&c.Backups.Interval, DefaultBackupInterval)
	set(&c.Times.IdleStranger, DefaultIdleStranger)
	c.Backups.Retain = cmp.Or(c.Backups.Retain, DefaultBackupRetain)
	if c.MaxProjectBytes == 0 {
		c.MaxProjectBytes = DefaultMaxProjectBytes
	}
	if c.MaxUnnamedBlobBytes == 0 {
		c.MaxUnnamedBlobBytes = max(DefaultMaxUnnamedBytes, c.MaxProjectBytes)
	}
	c.Limits = c.Limits.Filled()
	set(&c.ExpireNeverEnabled, DefaultExpireNeverEnabled)
	l := &c.CatalogLimits
	l.NotStarted, l.TaskCount = cmp.Or(l.NotStarted, DefaultNotStarted), cmp.Or(l.TaskCount, DefaultTaskCount)
	l.AgentIDs, l.NeverEnabled = cmp.Or(l.AgentIDs, DefaultAgentIDs), cmp.Or(l.NeverEnabled, DefaultNeverEnabled)
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	if c.GossipPort == 0 {
		c.GossipPort = DefaultGossipPort
	}
	if c.InstanceName == "" {
		c.InstanceName = "MSSQLSERVER"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
}

// RaftTiming returns the timings of the profile, unless a test has set its own.
func (c *Config) RaftTiming() (cluster.Timing, error) {
	if c.Timings != nil {
		return *c.Timings, nil
	}
	return cluster.TimingProfile(c.Timing)
}

// WideArea reports whether the masters are far apart: gossip then waits longer for answers.
func (c *Config) WideArea() bool { return c.Timing == "wan" }

// Advertised returns the "host:port" that others dial: the host of AdvertiseAddress, else this machine's name. The port
// is that of AdvertiseAddress, else the one that is listened on.
func (c *Config) Advertised(listener net.Addr) (string, error) {
	_, port, err := net.SplitHostPort(listener.String())
	if err != nil {
		return "", err
	}
	host := c.AdvertiseAddress
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	if host == "" {
		if host, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("AdvertiseAddress is empty and the host's name is unknown: %w", err)
		}
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port), nil
}
