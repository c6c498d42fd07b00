package testcluster_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"scaleout/cluster/recovery"
	"scaleout/cmd/master"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// tripwire runs a function once, when a master logs a certain message, before that master goes on.
type tripwire struct {
	mu   sync.Mutex
	text string
	skip int // how many matches are ignored before
	do   func()
	hit  bool
}

func (w *tripwire) arm(text string, skip int, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text, w.skip, w.do = text, skip, do
}

func (w *tripwire) sprung() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hit
}

func (w *tripwire) hear(text string) {
	w.mu.Lock()
	do := w.do
	here := do != nil && text == w.text
	if here && w.skip > 0 {
		w.skip--
		here = false
	}
	if !here {
		w.mu.Unlock()
		return
	}
	w.do, w.hit = nil, true
	w.mu.Unlock()
	do() // it may log, too
}

// wired adds the tripwire to the masters' logs.
func (w *tripwire) wired() testcluster.Option {
	return testcluster.Settings(func(_ int,
		cfg *master.Config) {
		cfg.Logger = slog.New(wiredLog{cfg.Logger.Handler(), w})
	})
}

type wiredLog struct {
	slog.Handler
	wire *tripwire
}

func (l wiredLog) Handle(ctx context.Context, r slog.Record) error {
	err := l.Handler.Handle(ctx, r)
	l.wire.hear(r.Message)
	return err
}
func (l wiredLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return wiredLog{l.Handler.WithAttrs(attrs), l.wire}
}
func (l wiredLog) WithGroup(name string) slog.Handler {
	return wiredLog{l.Handler.WithGroup(name), l.wire}
}

// saved is a backup of a cluster with work: one execution waits, and a worker holds an attempt of another one, which
// may be retried.
type saved struct {
	file          []byte
	lock          client.BackupLock
	content       string
	waiting, held int64
}

func savedWork(t *testing.T) saved {
	t.Helper()
	c := testcluster.Start(t, 1)
	out, _ := deployRecorder(t, c, "true")
	s := saved{lock: lockOf(t, backupSecret)}
	s.held = startAndTake(t, c, c.Controller("controlled", 9*time.Second, 9*time.Second), 1).TaskID
	s.waiting = c.Run("ETL/Recorder/work.sh", 0, map[string]any{"Out": out})
	s.content = content(t, c)
	s.file = save(t, c.Admin(), true, s.lock)
	return s
}

// The leader's power is cut during a restore, at each of its steps. Afterwards the cluster is completely the old one or
// completely the restored one. The old one can restore the same backup again.
func TestALeaderDiesInARestore(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	backup := savedWork(t)
	// What a master logs next, in the order of the steps. Old and restored are the possible results.
	for _, step := range []struct {
		name, says    string
		skip          int
		old, restored bool
	}{
		{"before anything", "restore of a backup asked for", 0, true, false},
		{"with the keys", "new keys are in this master's key ring", 0, true, false},
		{"when another one has the keys", "new keys are in this master's key ring", 1, true, false},
		{"behind its fence", "a restored state replaces this cluster's", 0, true, false},
		{"with the state on its disk", "copied to local snapshot", 0, true, false},
		{"with the state in its memory", "restored user snapshot", 0, true, false},
		{"while it sends the state", "installing snapshot on", 0, true, true},
		{"when another one has it", "Installed remote snapshot", 0, true, true},
		{"before the next leadership", "leadership handed over", 0, false, true},
		{"when all is done", "backup restored", 0, false, true},
	} {
		t.Run(step.name, func(t *testing.T) {
			t.Parallel()
			var trip tripwire
			c := testcluster.Start(t, 3, trip.wired())
			c.Eventually("three voters", 20*time.Second, func() bool { return healthyVoters(c) == 3 })
			empty := content(t, c)
			leader := c.Leader()
			trip.arm(step.says, step.skip, c.Master(leader).Crash)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := restoreUntil(ctx, c.Client(leader), backup)
			if !trip.sprung() {
				t.Fatalf("nobody said %q: nothing was tested (%v)", step.says, err)
			}
			c.Kill(leader)
			was := c.Leader()
			rejoin(t, c, leader)
			switch now := content(t, c); {
			case now == empty && step.old:
				var last error
				defer func() {
					if t.Failed() {
						t.Log("the second restore:", last)
					}
				}()
				c.Eventually("the second restore", 30*time.Second, func() bool {
					for i := range 3 {
						if !c.Running(i) { // on a busy machine a master can end itself, and a restore needs all of them
							rejoin(t, c, i)
						}
					}
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					// On a busy machine leadership may move meanwhile: then the restore is done and nobody learns of it, or it was
					// refused.
					last = restoreUntil(ctx, c.Admin(), backup)
					return last == nil || client.Code(last) == wire.CodeClusterNotEmpty
				})
				for i := range 3 {
					if !c.Running(i) {
						rejoin(t, c, i)
					}
				}
			case now == backup.content && step.restored:
			default:
				t.Fatalf("under %s the cluster is neither the old one nor the restored one, or not the one expected:\n%s",
					c.Name(was), now)
			}
			if now := content(t, c); now != backup.content {
				t.Errorf("saved:\n%s\nrestored:\n%s", backup.content, now)
			}
			goesOn(t, c, backup)
		})
	}
}

func (s saved) open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(s.file)), nil }

// restoreUntil restores a backup. The end of ctx ends the attempt.
func restoreUntil(ctx context.Context, c *client.Client, s saved) error {
	_, err := c.Restore(ctx, s.lock, int64(len(s.file)), s.open)
	return err
}

// healthyVoters returns how many healthy voters the leader sees.
func healthyVoters(c *testcluster.Cluster) (n int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := c.Admin().Cluster(ctx)
	if err != nil {
		return 0
	}
	return healthy(s)
}

func healthy(s wire.ClusterStatus) (voters int) {
	for _, m := range s.Members {
		if m.Role == wire.RoleVoter && m.Health == "healthy" {
			voters++
		}
	}
	return voters
}

// rejoin starts a master that ended during a restore. If the master cannot know the restore's result, it logs that and
// ends; then it comes back as a new node.
func rejoin(t *testing.T, c *testcluster.Cluster, i int) {
	t.Helper()
	c.Restart(i)
	whole := func() bool { return healthyVoters(c) == 3 }
	c.Eventually("it is there or has refused", 30*time.Second,
		func() bool { return !c.Running(i) || ready(t.Context(), c, i) })
	if c.Running(i) {
		return
	}
	if _, err := c.Wait(i); !errors.Is(err, recovery.ErrInstalling) {
		t.Fatalf("it ended with %v", err)
	}
	c.Wipe(i)
	c.Restart(i)
	c.Eventually("it is a voter again", 30*time.Second, whole)
}

// goesOn checks that the leader continues with what it restored: the held lease is in force, and the waiting execution
// runs.
func goesOn(t *testing.T, c *testcluster.Cluster, s saved) {
	t.Helper()
	if _, runs := task(t, c, s.held).Time("lease_until"); !runs {
		t.Error("the lease of a restored attempt has no end: its worker may stay silent for ever")
	}
	c.Worker(testcluster.WorkerConfig{})
	c.WaitStatus(s.waiting, 20*time.Second, 7)
}

// The leader before a restore has the old state in memory. A new leadership begins after the restore, from the restored
// state: its queue is granted, and a lease whose worker stays silent has its full duration there and ends.
func TestARestoreBeginsANewLeadership(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	backup := savedWork(t)
	for name, masters := range map[string]int{"one master": 1, "three masters": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := testcluster.Start(t, masters)
			c.Eventually("all voters", 20*time.Second, func() bool { return healthyVoters(c) == masters })
			began := time.Now()
			if err := restoreUntil(t.Context(), c.Admin(), backup); err != nil {
				t.Fatal(err)
			}
			goesOn(t, c, backup)
			c.WaitStatus(backup.held, 60*time.Second, 7)
			page, err := c.Admin().View(t.Context(), "tasks", client.Query{Equal: map[string]any{"task_id": backup.held}})
			if err != nil || len(page.Rows) != 2 || page.Rows[0].Text("outcome") != "lost" {
				t.Fatalf("%v, %v; want one attempt lost and one more", page.Rows, err)
			}
			if lost, _ := page.Rows[0].Time("ended"); lost.Before(began.Add(9 * time.Second)) {
				t.Errorf("the restored lease ended %v after the restore began, its duration is 9s", lost.Sub(began))
			}
		})
	}
}
