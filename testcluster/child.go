package testcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/gossip"
	"scaleout/cluster/pki"
	"scaleout/cluster/transport"
	"scaleout/cmd/dev/process"
	"scaleout/cmd/master"
	"scaleout/cmd/master/config"
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
	Times                                              config.Times
	Limits                                             httpapi.Limits
	MaxUnnamedBlobBytes                                int64
}

func plain(c master.Config) *masterConfig {
	return &masterConfig{
		Name: c.Name, DataDirectory: c.DataDirectory, BindAddress: c.BindAddress, AdvertiseAddress: c.AdvertiseAddress,
		Port: c.Port, GossipPort: c.GossipPort, BootstrapExpect: c.BootstrapExpect, RetryJoin: c.RetryJoin, Files: c.Files,
		GossipKeyFile: c.GossipKeyFile, KeyRingFile: c.KeyRingFile, Timing: c.Timing,
		Heartbeat: c.Heartbeat, Expiry: c.Expiry, Cleanup: c.Cleanup, RetryDelay: c.RetryDelay, Snapshots: c.Snapshots,
		Connections: c.Connections, Gossip: c.Gossip, Times: c.Times, Limits: c.Limits,
		MaxUnnamedBlobBytes: c.MaxUnnamedBlobBytes,
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
	if c := cfg.Master; c != nil {
		m, err := master.New(master.Config{
			Name: c.Name, DataDirectory: c.DataDirectory, BindAddress: c.BindAddress, AdvertiseAddress: c.AdvertiseAddress,
			Port: c.Port, GossipPort: c.GossipPort, BootstrapExpect: c.BootstrapExpect, RetryJoin: c.RetryJoin, Files: c.Files,
			GossipKeyFile: c.GossipKeyFile, KeyRingFile: c.KeyRingFile, Timing: c.Timing,
			Heartbeat: c.Heartbeat, Expiry: c.Expiry, Cleanup: c.Cleanup, RetryDelay: c.RetryDelay, Snapshots: c.Snapshots,
			Connections: c.Connections, Gossip: c.Gossip, Times: c.Times, Limits: c.Limits,
			MaxUnnamedBlobBytes: c.MaxUnnamedBlobBytes,
			Version:             "test", Logger: log, Exit: os.Exit, Store: slowed(c.SlowDisk),
		})
		if err != nil {
			return err
		}
		return m.Run(process.Obey(context.Background(), os.Stdin, exitSoon))
	}
	if cfg.Worker == nil {
		return errors.New("the child's configuration names neither a master nor a worker")
	}
	return runWorker(*cfg.Worker, log)
}

// exitSoon ends a child whose test is gone, and which does not end by itself.
func exitSoon() { time.AfterFunc(20*time.Second, func() { os.Exit(1) }) }

// runWorker is a worker process.
func runWorker(c WorkerConfig, log *slog.Logger) error {
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
	// Its test asks it to drain, and then to end what it runs.
	ctx := process.Obey(context.Background(), os.Stdin, w.Kill)
	leave := make(chan os.Signal, 1)
	signal.Notify(leave, leaveSignal)
	defer signal.Stop(leave)
	go func() {
		<-leave
		w.Leave()
	}()
	return w.Run(ctx)
}

// startChild starts this program again, as a master or a worker.
func startChild(c *Cluster, name string, cfg childConfig) (*process.Process, error) {
	raw, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(c.dir, name+".json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return nil, err
	}
	return process.Start(process.Command{
		Name: name, Path: os.Args[0], Env: append(os.Environ(), childVariable+"="+file), Stderr: c.logFile,
	})
}

// PID is the process of a master; 0 for one within this process.
func (c *Cluster) PID(i int) int {
	nd := c.node(i)
	nd.mu.Lock()
	defer nd.mu.Unlock()
	if nd.child == nil {
		return 0
	}
	return nd.child.PID()
}

// Gossip is a master's gossip address.
func (c *Cluster) Gossip(i int) string { return fmt.Sprintf("127.0.0.1:%d", c.node(i).gossip) }
