package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"scaleout/fsm"
	"scaleout/fsm/command"
)

// restorable is the host's own state of now, made ready to be installed later.
func (h *host) restorable(t *testing.T) (LogPosition, []byte) {
	t.Helper()
	at, err := h.node.RestoreReady(within(t, waitLimit), command.Level)
	must(t, err)
	capture, err := h.fsm.Capture()
	must(t, err)
	var saved, adopted bytes.Buffer
	must(t, capture.Write(&saved))
	_, err = fsm.Adopt(&saved, &adopted, command.Level, fsm.Identity{
		ClusterID: h.w.ca.ClusterID(), Level: capture.Reader().Level(), Index: at.Index, Term: at.Term,
	})
	must(t, err)
	return at, adopted.Bytes()
}

// cutReader gives what it has, says so, and waits for what is to follow: an error or the rest.
type cutReader struct {
	io.Reader
	reached chan struct{}
	then    chan error
}

func newCutReader(b []byte) *cutReader {
	return &cutReader{Reader: bytes.NewReader(b), reached: make(chan struct{}), then: make(chan error)}
}

func (r *cutReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n == 0 && errors.Is(err, io.EOF) && r.reached != nil {
		close(r.reached)
		r.reached = nil
		return 0, <-r.then
	}
	return n, err
}

func TestALoneMasterTakesAState(t *testing.T) {
	w := newWorld(t)
	h := w.start(1)[0]
	w.leader()
	_, _, err := h.folder(within(t, waitLimit), "before")
	must(t, err)
	at, state := h.restorable(t)
	_, _, err = h.folder(within(t, waitLimit), "after")
	must(t, err)

	// What Raft refuses changes nothing, and the cluster goes on.
	r := newCutReader(state[:len(state)/2])
	broken := errors.New("the file ends (injected)")
	go func() { r.then <- broken }()
	none := func() error { return nil }
	if err := h.node.Install(within(t, waitLimit), at, int64(len(state)), r, none); !errors.Is(err, command.ErrRefused) {
		t.Fatalf("half a state: %v", err)
	}
	if _, _, err := h.folder(within(t, waitLimit), "between"); err != nil || !h.has("after") {
		t.Fatalf("after a refusal: %v, has what came before it: %v", err, h.has("after"))
	}
	other := at
	other.Term++
	err = h.node.Install(within(t, waitLimit), other, int64(len(state)), bytes.NewReader(state), none)
	if !errors.Is(err, command.ErrRefused) {
		t.Fatalf("a state for another term: %v", err)
	}

	must(t, h.node.Install(within(t, waitLimit), at, int64(len(state)), bytes.NewReader(state), none))
	w.leader()
	if !h.has("before") || h.has("after") || h.has("between") {
		t.Error("another state than the installed one")
	}
	_, _, err = h.folder(within(t, waitLimit), "last")
	must(t, err)
	hash := h.hash()
	must(t, h.stop())
	// Name, description and content of what it left agree.
	again, last, err := rebuilt(filepath.Join(h.path, "data"))
	must(t, err)
	if again != hash || last <= at.Index {
		t.Errorf("started again: the state ends at %d (installed at %d), the same: %v", last, at.Index, again == hash)
	}
}

func TestALoneMasterIsStoppedDuringARestore(t *testing.T) {
	w := newWorld(t)
	h := w.start(1)[0]
	w.leader()
	at, state := h.restorable(t)
	_, _, err := h.folder(within(t, waitLimit), "after")
	must(t, err)
	r := newCutReader(state[:len(state)/2])
	reached := r.reached
	installed := make(chan error, 1)
	var index uint64
	var hash string
	// Commands are held back when this is asked; until then the master writes no-ops of its own.
	last := func() (err error) { index, hash, err = h.fsm.Hash(t.Context()); return err }
	go func() { installed <- h.node.Install(context.Background(), at, int64(len(state)), r, last) }()
	<-reached
	stopped := make(chan error, 1)
	go func() { stopped <- h.stop() }()
	if err := <-installed; !errors.Is(err, command.ErrUnknownOutcome) {
		t.Errorf("the answer of a master that was stopped before it had the state: %v", err)
	}
	r.then <- errors.New("stopped (injected)")
	must(t, <-stopped)
	if again, end, err := rebuilt(filepath.Join(h.path, "data")); err != nil || again != hash {
		t.Errorf("nothing was restored, and its state is another one, at entry %d (it was at %d): %v", end, index, err)
	}
}

// Whoever hands leadership over in vain during a restore does not let commands go.
func TestAFailingHandOverDuringARestore(t *testing.T) {
	w := newWorld(t)
	h := w.start(1)[0]
	w.leader()
	at, state := h.restorable(t)
	r := newCutReader(state)
	reached := r.reached
	installed := make(chan error, 1)
	go func() {
		installed <- h.node.Install(within(t, waitLimit), at, int64(len(state)), r, func() error { return nil })
	}()
	<-reached
	release := h.node.leadership.Load().proposer.Hold(t.Context())
	release() // as after a hand-over that failed
	// A command that Raft has is of unknown outcome to a caller who gives up; one that waits is not.
	_, _, err := h.folder(within(t, 100*time.Millisecond), "meanwhile")
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, command.ErrUnknownOutcome) {
		t.Errorf("a command was given to Raft while a state is installed: %v", err)
	}
	r.then <- io.EOF
	must(t, <-installed)
	w.write("afterwards")
}
