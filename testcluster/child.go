package testcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/gossip"
	"scaleout/cluster/pki"
	"scaleout/cluster/transport"
	"scaleout/cmd/master"
	"scaleout/cmd/worker"
	"scaleout/cmd/worker/guard"
	"scaleout/httpapi"
	"scaleout/httpapi/client"
)

// childVariable carries a child's configuration file.
const childVariable = "SCALEOUT_TESTCLUSTER_CHILD"

// leaveSignal makes a worker process leave what runs to its guards, as its service does with --leave-after.
const leaveSignal = syscall.SIGINT

// childConfig is what a child process shall be: a master or a worker.
type childConfig struct {
	Master *masterConfig `json:",omitempty"`
	Worker *WorkerConfig `json:",omitempty"`
}

// masterConfig is the part of a master's settings that can be handed to another process.
type masterConfig struct {
	Name, DataDirectory, BindAddress, AdvertiseAddress string
	Port, GossipPort, BootstrapExpect                  int
	RetryJoin                                          []string
	Files                                              pki.Files
	GossipKeyFile, KeyRingFile, Timing                 string
	Heartbeat, Expiry, Cleanup, RetryDelay             time.Duration
	Snapshots                                          *cluster.Snapshots
	SlowDisk                                           time.Duration
	Connections                                        transport.Limits
	Gossip                                             gossip.Limits
	Times                                              master.Times
	Limits                                             httpapi.Limits
	MaxUnnamedBlobBytes                                int64
}

func plain(c master.Config) *masterConfig {
	return &masterConfig{
		Name: c.Name, DataDirectory: c.DataDirectory, BindAddress: c.BindAddress, AdvertiseAddress: c.AdvertiseAddress,
		Port: c.Port, GossipPort: c.GossipPort, BootstrapExpect: c.BootstrapExpect, RetryJoin: c.RetryJoin, Files: c.Files,
		GossipKeyFile: c.GossipKeyFile, KeyRingFile: c.KeyRingFile, Timing: c.Timing,
		Heartbeat: c.Heartbeat, Expiry: c.Expiry, Cleanup: c.Cleanup, RetryDelay: c.RetryDelay, Snapshots: c.Snapshots,
		Connections: c.Connections, Gossip: c.Gossip, Times: c.Times, Limits: c.Limits, MaxUnnamedBlobBytes: c.MaxUnnamedBlobBytes,
	}
}

// Main runs a package's tests, or what this process was started as: a guard, a master or a worker.
func Main(m *testing.M) {
	if guard.IsGuard(os.Args[1:]) {
		os.Exit(guard.Main(os.Args[2:]))
	}
	if file := os.Getenv(childVariable); file != "" {
		os.Exit(runChild(file))
	}
	os.Exit(m.Run())
}

func runChild(file string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if err := childMain(file, log); err != nil {
		log.Error("child ends", "err", err)
		return 1
	}
	return 0
}

func childMain(file string, log *slog.Logger) error {
	// Nothing that this process starts, guards least of all, may take itself for the same child.
	if err := os.Unsetenv(childVariable); err != nil {
		return err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var cfg childConfig
	if err := json.Unmarshal(raw, &cfg); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if c := cfg.Master; c != nil {
		m, err := master.New(master.Config{
			Name: c.Name, DataDirectory: c.DataDirectory, BindAddress: c.BindAddress, AdvertiseAddress: c.AdvertiseAddress,
			Port: c.Port, GossipPort: c.GossipPort, BootstrapExpect: c.BootstrapExpect, RetryJoin: c.RetryJoin, Files: c.Files,
			GossipKeyFile: c.GossipKeyFile, KeyRingFile: c.KeyRingFile, Timing: c.Timing,
			Heartbeat: c.Heartbeat, Expiry: c.Expiry, Cleanup: c.Cleanup, RetryDelay: c.RetryDelay, Snapshots: c.Snapshots,
			Connections: c.Connections, Gossip: c.Gossip, Times: c.Times, Limits: c.Limits, MaxUnnamedBlobBytes: c.MaxUnnamedBlobBytes,
			Version: "test", Logger: log, Exit: os.Exit, Store: slowed(c.SlowDisk),
		})
		if err != nil {
			return err
		}
		return m.Run(ctx)
	}
	if cfg.Worker == nil {
		return errors.New("the child's configuration names neither a master nor a worker")
	}
	return runWorker(ctx, *cfg.Worker, log)
}

// runWorker is a worker process.
func runWorker(ctx context.Context, c WorkerConfig, log *slog.Logger) error {
	creds, err := pki.OpenCredentials(pki.CredentialsConfig{Files: files(c.Certificates), Logger: log})
	if err != nil {
		return err
	}
	outbound := client.NewTransport(creds.ClientTLS("http/1.1"))
	var dial Dial
	if c.Relay != "" {
		dial = relayed(c.Relay)
	}
	outbound.DialTLSContext = creds.DialTLS(dial, "http/1.1")
	masters, err := client.New(client.Config{Masters: c.Masters, HTTPClient: httpClient(outbound), Logger: log})
	if err != nil {
		return err
	}
	w, err := worker.New(c.settings(masters, log))
	if err != nil {
		return err
	}
	defer w.Close()
	// The signal that ends ctx makes it drain; the next one does not wait.
	signals, leave := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	defer signal.Stop(signals)
	signal.Notify(leave, leaveSignal)
	defer signal.Stop(leave)
	go func() {
		<-signals
		<-signals
		w.Kill()
	}()
	go func() {
		<-leave
		w.Leave()
	}()
	return w.Run(ctx)
}

// child is a process that this one started.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func startChild(c *Cluster, name string, cfg childConfig) (*child, error) {
	raw, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(c.dir, name+".json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+file)
	cmd.Stderr = c.logFile
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	ch := &child{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(ch.done)
		_ = cmd.Wait() // how it ended is in the log
	}()
	return ch, nil
}

// PID is the process of a master; 0 for one within this process.
func (c *Cluster) PID(i int) int {
	nd := c.node(i)
	nd.mu.Lock()
	defer nd.mu.Unlock()
	if nd.child == nil {
		return 0
	}
	return nd.child.cmd.Process.Pid
}

// Gossip is a master's gossip address.
func (c *Cluster) Gossip(i int) string { return fmt.Sprintf("127.0.0.1:%d", c.node(i).gossip) }

// signal sends a signal; a process that has ended does not mind.
func (ch *child) signal(s os.Signal) { _ = ch.cmd.Process.Signal(s) }

func (ch *child) ended() bool {
	select {
	case <-ch.done:
		return true
	default:
		return false
	}
}
