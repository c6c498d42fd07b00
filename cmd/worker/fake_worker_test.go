//go:build unix

package worker

import (
	"context"
	"testing"
	"time"
)

// runningWorker is a worker that runs in this process.
type runningWorker struct {
	*Worker
	t    testing.TB
	stop context.CancelFunc
	done chan error
}

func (m *fakeMaster) config(dir string) Config {
	return Config{
		DataDirectory: dir, MaxTaskCount: 4, MachineID: "machine", BootID: "boot", Version: "test",
		StopGrace: 300 * time.Millisecond, FlushTimeout: 5 * time.Second,
	}
}

func (m *fakeMaster) worker(cfg Config) *runningWorker {
	m.t.Helper()
	c, err := Connect(m.server.URL, credentials(m.t, m.certs), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	cfg.Masters = c
	w, err := New(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &runningWorker{Worker: w, t: m.t, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- w.Run(ctx); c.Close() }()
	m.t.Cleanup(func() {
		stop()
		w.Kill()
		<-r.done
	})
	return r
}

func (r *runningWorker) wait() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		return err
	case <-time.After(2 * time.Minute):
		r.t.Fatal("Run does not return")
		return nil
	}
}
