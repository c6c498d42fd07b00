package fsm

import (
	"fmt"
	"io"

	"scaleout/fsm/catalog"
)

// Capture is the state as it was at one moment; it can be read for as long as wanted.
type Capture struct{ state *catalog.Snapshot }

// Capture captures the state after the last entry.
func (f *FSM) Capture() (*Capture, error) {
	if err := f.Err(); err != nil {
		return nil, fmt.Errorf("no copy of a state machine that stands still: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &Capture{f.state.Snapshot()}, nil
}

// Reader returns a read transaction on the captured state. Only its Counts are those of the newest state.
func (c *Capture) Reader() *catalog.Reader { return c.state.Reader() }

// Write writes the state as a snapshot.
func (c *Capture) Write(w io.Writer) error { return write(w, c.state, c.state.Reader().Index(), 0) }

// Check reads a whole snapshot and verifies it, as Restore would. Errors wrap ErrSnapshot or ErrTooNew.
func Check(r io.Reader, level int) (*catalog.Reader, error) {
	state, err := read(r, level)
	if err != nil {
		return nil, err
	}
	return state.Reader(), nil
}

// Identity is what a cluster gives to a state that it adopts.
type Identity struct {
	ClusterID string
	Level     int    // the cluster's; the state's own stands when it is higher
	Index     uint64 // the place in the log that the state is put at
	Term      uint64 // the term in which that is done
}

// Adopt rewrites a snapshot for another cluster and returns the state that it holds now.
func Adopt(r io.Reader, w io.Writer, level int, id Identity) (*catalog.Reader, error) {
	state, err := read(r, level)
	if err != nil {
		return nil, err
	}
	state.Adopt(id.ClusterID, id.Level, id.Index)
	return state.Reader(), write(w, state.Snapshot(), id.Index, id.Term)
}
