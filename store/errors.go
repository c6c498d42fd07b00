package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"

	"scaleout/fsm/command"
)

// The errors of this package beside command.ErrDigest, ErrNoSpace and ErrBlobTooLarge. An error that the package
// returns wraps one of them where one fits, and its text names the path and what to do.
var (
	// ErrLocked: another process uses the data directory.
	ErrLocked = errors.New("data directory is in use")
	// ErrNewerFormat: a newer program wrote the data directory.
	ErrNewerFormat = errors.New("data directory has a newer format")
	// ErrCorrupt: what is on the disk is not what was written.
	ErrCorrupt = errors.New("damaged data on disk")
	// ErrNotFound: no blob has that digest here.
	ErrNotFound = errors.New("blob not found")
	// ErrFrozen: the directory was frozen by a test.
	ErrFrozen = errors.New("store is frozen")
	// ErrClosed: the directory was closed.
	ErrClosed = errors.New("store is closed")
)

const rejoin = "it is not repaired in place: stop this node, move its data directory away " +
	"and start it with an empty one, so that it joins again as a new node"

// corrupt returns the error for damage that is mended only by wiping the node.
func corrupt(path, what string) error {
	return fmt.Errorf("%w: %s: %s; %s", ErrCorrupt, path, what, rejoin)
}

// onDisk puts the path into an error of a write that does not name it, and turns a full disk, in all
// the shapes it comes in, into command.ErrNoSpace.
func onDisk(path string, err error) error {
	if err == nil || errors.Is(err, command.ErrNoSpace) {
		return err
	}
	// bbolt flattens some of its errors to text.
	if !isNoSpace(err) && !strings.Contains(err.Error(), textNoSpace) {
		if strings.Contains(err.Error(), path) {
			return err
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	free := "unknown"
	if n, ferr := freeBytes(filepath.Dir(path)); ferr == nil {
		free = fmt.Sprint(n)
	}
	return fmt.Errorf("%w: %s: %s bytes free; make room, nothing already stored was lost: %w",
		command.ErrNoSpace, path, free, err)
}

// gate is asked before every write. Once shut it stays shut.
type gate struct{ state atomic.Int32 }

const (
	gateOpen int32 = iota
	gateFrozen
	gateClosed
)

func (g *gate) check() error {
	switch g.state.Load() {
	case gateFrozen:
		return ErrFrozen
	case gateClosed:
		return ErrClosed
	}
	return nil
}

func (g *gate) freeze() { g.state.CompareAndSwap(gateOpen, gateFrozen) }

// close shuts the gate and reports whether it had been frozen; a frozen gate stays frozen.
func (g *gate) close() (frozen bool) { return !g.state.CompareAndSwap(gateOpen, gateClosed) }
