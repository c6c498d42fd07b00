package fsm_test

import (
	"bytes"
	"errors"
	"testing"

	"scaleout/fsm"
)

// What Raft applies twice, or out of order, would make another state on this node than on all others: it stands still.
func TestAnEntryTheStateHoldsIsRefused(t *testing.T) {
	log := story(t)
	last := log[len(log)-1].Index
	whole := replay(fsm.New(fsm.Config{Logger: quiet()}), log...)
	snapshot := saved(t, whole)
	for name, c := range map[string]struct {
		restored bool
		index    uint64
		refused  bool
	}{
		"the same again":                     {false, last, true},
		"an older one":                       {false, 3, true},
		"the next":                           {false, last + 1, false},
		"one later":                          {false, last + 7, false},
		"the last one of a snapshot":         {true, last, true},
		"one that a snapshot holds":          {true, 2, true},
		"the first one behind a snapshot":    {true, last + 1, false},
		"one behind Raft's own in the index": {true, last + 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			var failed error
			f := fsm.New(fsm.Config{Logger: quiet(), Failed: func(err error) { failed = err }})
			if c.restored {
				if err := restore(f, snapshot); err != nil {
					t.Fatal(err)
				}
			} else {
				replay(f, log...)
			}
			entry := *log[len(log)-1]
			entry.Index = c.index
			f.Stop()
			done := make(chan struct{})
			go func() { defer close(done); f.Apply(&entry) }()
			<-done
			if refused := errors.Is(failed, fsm.ErrOutOfOrder) && errors.Is(f.Err(), fsm.ErrOutOfOrder); refused != c.refused {
				t.Errorf("entry %d after %d: %v", c.index, last, failed)
			}
			if want := max(last, c.index); f.Index() != want {
				t.Errorf("the state is of entry %d, want %d", f.Index(), want)
			}
		})
	}
}

// A snapshot is of one place in the log, and says so itself.
func TestSnapshotOfAnotherPlace(t *testing.T) {
	f := replay(fsm.New(fsm.Config{Logger: quiet()}), story(t)...)
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	sink := &placedSink{index: 40, term: 3}
	if err := snap.Persist(sink); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		index, term uint64
		ok          bool
	}{{40, 3, true}, {41, 3, false}, {39, 3, false}, {40, 2, false}, {f.Index(), 3, false}} {
		err := fsm.CheckHeader(bytes.NewReader(sink.Bytes()), c.index, c.term)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, fsm.ErrSnapshot) {
			t.Errorf("entry %d, term %d: %v", c.index, c.term, err)
		}
	}
	// Raft's own entries up to the snapshot's place are not in the state, and may not come again either.
	g := fsm.New(fsm.Config{Logger: quiet()})
	if err := restore(g, sink.Bytes()); err != nil {
		t.Fatal(err)
	}
	g.Stop()
	done := make(chan struct{})
	entry := *story(t)[0]
	entry.Index = 40
	go func() { defer close(done); g.Apply(&entry) }()
	<-done
	if g.Index() != f.Index() || !errors.Is(g.Err(), fsm.ErrOutOfOrder) {
		t.Errorf("index %d, want %d; %v", g.Index(), f.Index(), g.Err())
	}
}

// placedSink is a sink that knows its place in the log.
type placedSink struct {
	bytes.Buffer
	index, term uint64
}

func (*placedSink) ID() string                   { return "placed" }
func (*placedSink) Cancel() error                { return nil }
func (*placedSink) Close() error                 { return nil }
func (s *placedSink) Position() (uint64, uint64) { return s.index, s.term }
