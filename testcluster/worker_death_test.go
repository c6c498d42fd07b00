package testcluster_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// beat writes a line every tenth of a second until its gate opens.
const beat = "note ran\nwhile ! [ -e \"DIR/go\" ]; do note beat; sleep 0.1; done\nnote end\n"

func shortLease(name string) testcluster.WorkerConfig {
	return testcluster.WorkerConfig{Name: name, Process: true, Lease: 9 * time.Second, Tolerance: 9 * time.Second}
}

// A worker that is killed with SIGKILL leaves its packages to their guards, and the worker's next process adopts them.
func TestAKilledWorkersPackagesAreAdopted(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c, map[string]string{"beat.sh": beat, "short.sh": "note ran\ngate half\nnote end\nexit 3\n"})
	w := c.Worker(shortLease("mortal"))
	long, short := s.start("beat.sh", 1), s.start("short.sh", 0)
	c.Eventually("both run", 10*time.Second, func() bool { return s.ran(long, "ran") == 1 && s.ran(short, "ran") == 1 })
	w.Kill()
	s.open("half") // this package ends while no worker process runs
	c.Eventually("the guard lives on", 5*time.Second, func() bool { return s.ran(short, "end") == 1 })
	w.Restart()
	c.WaitStatus(short, 20*time.Second, 4)
	beats := s.ran(long, "beat")
	c.Eventually("the package runs on", 5*time.Second, func() bool { return s.ran(long, "beat") > beats+2 })
	s.open("go")
	s.once(long)
	if n := s.ran(short, "ran"); n != 1 {
		t.Errorf("the one that failed ran %d times without a retry", n)
	}
	if rows := s.attempts(short); len(rows) != 1 || rows[0].Text("outcome") != "failed" {
		t.Errorf("%v", rows)
	}
}

// A worker is dead or frozen for good. Its guards end the packages in time, only then are the tasks given to other
// workers, and tasks without another attempt are reported lost, with worker and time.
func TestAttemptsOfASilentWorkerNeverOverlap(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	for name, inject := range map[string]func(*testcluster.Worker){
		"killed": (*testcluster.Worker).Kill,
		"frozen": (*testcluster.Worker).Pause,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := testcluster.Start(t, 3)
			s := deployScripts(t, c, map[string]string{"beat.sh": beat})
			first := c.Worker(shortLease("first"))
			again, last := s.start("beat.sh", 1), s.start("beat.sh", 0)
			c.Eventually("both run", 10*time.Second, func() bool { return s.ran(again, "ran") == 1 && s.ran(last, "ran") == 1 })
			c.Worker(testcluster.WorkerConfig{Name: "second"})
			s.noReason(last)
			injected := time.Now()
			inject(first)
			if text := s.reason(last, "silent"); !strings.Contains(text, "first is silent since ") ||
				!strings.Contains(text, "lost at ") {
				t.Errorf("silent: %q", text)
			}
			c.WaitStatus(last, 40*time.Second, 6)
			rows := s.attempts(last)
			if len(rows) != 1 || rows[0].Text("outcome") != "lost" ||
				!strings.Contains(rows[0].Text("message"), "silent since ") {
				t.Errorf("lost: %v", rows)
			}
			s.noReason(last)
			if texts := strings.Join(s.texts(last), "\n"); !strings.Contains(texts, `was lost with worker "`+first.Name()) {
				t.Errorf("messages of the lost one: %s", texts)
			}
			c.Eventually("the other goes on elsewhere", 20*time.Second, func() bool { return s.ran(again, "ran") == 2 })
			s.open("go")
			c.WaitStatus(again, 20*time.Second, 7)
			for _, id := range []int64{again, last} {
				_, end := s.span(id, 1)
				if over := end.Sub(injected); over > 9*time.Second {
					t.Errorf("execution %d ran on for %v, its lease was 9s", id, over)
				}
			}
			_, end := s.span(again, 1)
			begin, _ := s.span(again, 2)
			if !begin.After(end) {
				t.Errorf("attempt 2 began at %v, attempt 1 said its last word at %v", begin, end)
			}
			if s.ran(again, "end") != 1 || s.ran(last, "end") != 0 {
				t.Error("an attempt that was given up ended well")
			}
			if name == "frozen" {
				first.Resume() // its reports come too late
			} else {
				first.Restart()
			}
			third := s.startOn("beat.sh", 0, first.ID())
			c.WaitStatus(third, 20*time.Second, 7)
			if st, _ := c.WaitStatus(last, time.Second, 6).Int("status"); st != 6 {
				t.Error("a late report changed it")
			}
		})
	}
}

// A guard that is killed takes its package with it, and the worker says so at once.
func TestAKilledGuard(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1)
	s := deployScripts(t, c, map[string]string{"beat.sh": beat})
	w := c.Worker(testcluster.WorkerConfig{})
	id := s.start("beat.sh", 0)
	c.Eventually("it runs", 10*time.Second, func() bool { return s.ran(id, "ran") == 1 })
	if n, err := w.KillGuards(); err != nil || n != 1 {
		t.Fatalf("%d guards were killed: %v", n, err)
	}
	c.WaitStatus(id, 20*time.Second, 4)
	if rows := s.attempts(id); !strings.Contains(rows[0].Text("message"), "guard") {
		t.Errorf("%v", rows)
	}
}

// The same AgentId from another machine is refused, with both names, while the first one's leases run.
func TestAClonedWorker(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c, onceScript)
	h := c.Controller("original", time.Minute, 10*time.Minute)
	id := s.start("once.sh", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	a, err := h.Exchange(ctx, 10*time.Second, 1, nil)
	if err != nil || len(a.Grants) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	clone := func(reg *wire.Register) {
		reg.Incarnation, reg.MachineID, reg.MachineName = "another-process", "machine-of-the-clone", "clone-host"
		reg.Running = []wire.AttemptRef{{TaskID: id, Attempt: 1}}
	}
	for _, i := range []int{c.Leader(), c.Others(c.Leader())[0]} {
		_, err = h.At(c, i).Register(ctx, clone)
		if client.Code(err) != "agent_id_in_use" || !strings.Contains(err.Error(), "clone-host") ||
			!strings.Contains(err.Error(), "original") {
			t.Errorf("the clone: %v", err)
		}
	}
	// The original has noticed nothing.
	ref := wire.AttemptRef{TaskID: id, Attempt: 1}
	a, err = h.Exchange(ctx, 0, 1, []wire.AttemptRef{ref})
	if err != nil || len(a.Renewed) != 1 || len(a.Fenced) != 0 {
		t.Errorf("the original: %+v, %v", a, err)
	}
	a, err = h.Exchange(ctx, 0, 1, nil, wire.Ended{TaskID: id, Attempt: 1, Outcome: wire.OutcomeSucceeded})
	if err != nil || len(a.Settled) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	// Another certificate name never gets the id.
	_, err = c.Controller("stranger", time.Minute, 10*time.Minute).Register(ctx,
		func(reg *wire.Register) { reg.AgentID = h.ID })
	if client.Code(err) != "agent_id_taken" {
		t.Errorf("another name: %v", err)
	}
}
