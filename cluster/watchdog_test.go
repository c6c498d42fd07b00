package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/command"
	"scaleout/store"
)

// stall is a log store whose writes can be made to hang.
type stall struct {
	store.LogStore
	mu   sync.Mutex
	hang chan struct{}
}

func (s *stall) StoreLogs(l []*raft.Log) error {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return s.LogStore.StoreLogs(l)
}

func (s *stall) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// begin makes writes hang until the returned function is called.
func (s *stall) begin() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hang := make(chan struct{})
	s.hang = hang
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.hang = nil
		s.mu.Unlock()
		close(hang)
	})
}

func stallable(h *host) *stall {
	s := &stall{}
	h.wrap = func(inner store.LogStore) store.LogStore { s.LogStore = inner; return s }
	return s
}

// With a stalled disk the library's leader heartbeats for ever and commits nothing, and cannot be asked to stop ▲.
func TestALeaderWithAStalledDiskMakesRoom(t *testing.T) {
	w := newWorld(t)
	stalls := map[*host]*stall{}
	for range 3 {
		h := w.add(expect(3))
		stalls[h] = stallable(h)
		h.start()
	}
	l := w.leader()
	w.voters(3)
	w.write("before")

	begun := time.Now()
	end := stalls[l].begin()
	t.Cleanup(end)
	held, cancel := l.node.Hold(t.Context())
	defer cancel()
	_, _, err := l.folder(bounded(t), "during") // the idle no-op would do as well
	// On a busy machine idle no-ops may be all that Raft was given: then it is certain that the command was not proposed.
	if !errors.Is(err, command.ErrUnknownOutcome) && !command.NotApplied(err) {
		t.Errorf("a command on a stalled disk: %v", err)
	}
	select {
	case code := <-l.exits:
		if code != ExitStalled {
			t.Errorf("exit %d", code)
		}
	case <-bounded(t).Done():
		t.Fatal("the watchdog did not bite")
	}
	if took := time.Since(begun); took < w.timing.stall() {
		t.Errorf("it gave up after %v, earlier than %v", took, w.timing.stall())
	}
	w.write("after", w.except(l)...)
	<-held.Done()
	if _, ready := l.node.IsLeader(); ready {
		t.Error("it still says that it is ready")
	}
	end() // so that the test can tear it down; a real process is gone
	if err := l.stop(); !errors.Is(err, ErrStalled) {
		t.Errorf("Run returned %v", err)
	}
	w.agree()
}

// A leader whose own disk is slow, though not so slow that it must go, says so.
func TestASlowDiskOfTheLeaderIsTold(t *testing.T) {
	w := newWorld(t)
	var end atomic.Pointer[func()]
	told := make(chan string, 1)
	var h *host
	h = w.add(expect(1), func(c *Config) {
		c.SlowCommit = func(waited time.Duration, ownDisk bool) {
			if shown := h.node.overdue(); shown < waited {
				t.Errorf("an entry has waited for %v, and the metric says %v", waited, shown)
			}
			if f := end.Load(); f != nil {
				(*f)() // from here, so that the watchdog does not bite
			}
			select {
			case told <- fmt.Sprint(waited >= w.timing.stall()/2, ownDisk):
			default:
			}
		}
	})
	disk := stallable(h)
	h.start()
	w.leader()
	f := disk.begin()
	end.Store(&f)
	t.Cleanup(f)
	w.write("late")
	if text := <-told; text != "true true" {
		t.Error(text)
	}
	if shown := h.node.overdue(); shown != 0 {
		t.Errorf("nothing waits, and the metric says %v", shown)
	}
}

func TestAStalledFollowerStays(t *testing.T) {
	w := newWorld(t)
	stalls := map[*host]*stall{}
	for range 3 {
		h := w.add(expect(3))
		stalls[h] = stallable(h)
		h.start()
	}
	l := w.leader()
	w.voters(3)
	f := w.except(l)[0]
	end := stalls[f].begin()
	w.write("x")
	w.until("the follower's write has run longer than a leader's may",
		func() bool { return f.dir.Log().Writing() > w.timing.stall()+300*time.Millisecond })
	select {
	case code := <-f.exits:
		t.Errorf("a follower exits with %d", code)
	default:
	}
	end()
	w.agree()
}

// An entry that cannot be applied must not be skipped, and the next one must not be applied.
func TestAnEntryThatCannotBeAppliedEndsTheProcess(t *testing.T) {
	w := newWorld(t)
	w.start(1)
	l := w.leader()
	r := l.node.leadership.Load()
	bad := command.Envelope{Kind: command.KindOf(&command.CreateFolder{}), Body: []byte{0xff}}
	go func() { _, _, _ = r.proposer.Propose(context.Background(), bad) }()
	select {
	case code := <-l.exits:
		if code != ExitStateMachine {
			t.Errorf("exit %d", code)
		}
	case <-bounded(t).Done():
		t.Fatal("the process lives")
	}
	if _, _, err := l.folder(within(t, time.Second), "next"); err == nil {
		t.Error("a command after it was applied")
	}
	if !w.logs.has("an entry of the log cannot be applied") || !strings.Contains(w.logs.String(), "Nothing is lost") {
		t.Error("no sentence for people")
	}
	l.fsm.Stop() // it stands still and would hold Raft for ever
	if err := l.stop(); !errors.Is(err, ErrStateMachine) {
		t.Errorf("Run returned %v", err)
	}
}

func TestTheLogIsSnapshottedWhenAsked(t *testing.T) {
	w := newWorld(t)
	w.start(1)
	l := w.leader()
	for _, name := range []string{"a", "b", "c"} {
		w.write(name)
	}
	l.node.keepTrailing(t.Context(), l.dir.Log().Bytes())
	must(t, l.node.await(bounded(t), l.node.raft.Snapshot()))
	must(t, l.stop())
	l.start()
	w.leader()
	if !l.has("a") || !l.has("c") || l.fsm.Restored() != 1 {
		t.Errorf("after snapshot and restart: folders %v %v, %d snapshots restored", l.has("a"), l.has("c"), l.fsm.Restored())
	}
}

func TestBigEntriesLeaveFewBehindASnapshot(t *testing.T) {
	w := newWorld(t)
	w.start(1)
	l := w.leader()
	w.write("a")
	first, err := l.dir.Log().FirstIndex()
	must(t, err)
	last, err := l.dir.Log().LastIndex()
	must(t, err)
	count := last - first + 1
	l.node.keepTrailing(t.Context(), count<<20) // as if every entry had a mebibyte
	if got := l.node.raft.ReloadableConfig().TrailingLogs; got != 256 {
		t.Errorf("%d entries of 1 MiB are kept behind a snapshot; want the least, 256", got)
	}
	l.node.keepTrailing(t.Context(), count*100)
	if got := l.node.raft.ReloadableConfig().TrailingLogs; got != trailingEntries {
		t.Errorf("%d small entries are kept; want %d", got, trailingEntries)
	}
}

// Settings that keep less than that are obeyed, however small the entries are.
func TestNoMoreEntriesAreKeptThanTheSettingsSay(t *testing.T) {
	w := newWorld(t)
	w.start(1, func(c *Config) { c.Snapshots = &Snapshots{Every: time.Hour, Entries: 64, Trailing: 8} })
	l := w.leader()
	w.write("a")
	l.node.keepTrailing(t.Context(), l.dir.Log().Bytes())
	if got := l.node.raft.ReloadableConfig().TrailingLogs; got != 8 {
		t.Errorf("%d entries are kept behind a snapshot; want 8", got)
	}
}
