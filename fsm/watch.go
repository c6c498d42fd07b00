package fsm

import (
	"context"
	"fmt"
	"slices"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// Changed returns a channel that is closed once the applied index exceeds index, or a snapshot has replaced the state.
func (f *FSM) Changed(index uint64) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.waiters[index]
	if !ok {
		c = make(chan struct{})
		if f.Index() > index {
			close(c)
			return c
		}
		f.waiters[index] = c
	}
	return c
}

func (f *FSM) wake(due func(uint64) bool) {
	for index, c := range f.waiters {
		if due(index) {
			close(c)
			delete(f.waiters, index)
		}
	}
}

// Hash is the SHA-256 of the state after the last entry, and that entry's index. Nodes that have applied the same
// entries answer the same.
func (f *FSM) Hash(ctx context.Context) (index uint64, hash string, err error) {
	if err := f.Err(); err != nil {
		return 0, "", err
	}
	f.mu.Lock()
	s := f.state.Snapshot()
	f.mu.Unlock()
	hash, err = s.Hash(ctx)
	return s.Reader().Index(), hash, err
}

// HashAt is the hash of the state as index left it, for which it waits if need be. Where the entry at index is Raft's
// own, it is the state of the entry before, known once a later one arrives. It fails with command.ErrIndexPassed when
// the state is already past index, and with ctx's error.
func (f *FSM) HashAt(ctx context.Context, index uint64) (string, error) {
	if err := f.Err(); err != nil {
		return "", err
	}
	f.mu.Lock()
	if now := f.Index(); now > index {
		f.mu.Unlock()
		return "", fmt.Errorf("index %d, asked for %d: %w", now, index, command.ErrIndexPassed)
	} else if now == index {
		s := f.state.Snapshot()
		f.mu.Unlock()
		return s.Hash(ctx)
	}
	c := make(chan *catalog.Snapshot, 1)
	f.hashers[index] = append(f.hashers[index], c)
	f.mu.Unlock()
	select {
	case s := <-c:
		if now := s.Reader().Index(); now > index {
			return "", fmt.Errorf("index %d, asked for %d: %w", now, index, command.ErrIndexPassed)
		}
		return s.Hash(ctx)
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		f.hashers[index] = slices.DeleteFunc(f.hashers[index], func(o chan *catalog.Snapshot) bool { return o == c })
		if len(f.hashers[index]) == 0 {
			delete(f.hashers, index)
		}
		return "", ctx.Err()
	}
}

// serveHashers gives the present state to those who wait for the due indexes.
func (f *FSM) serveHashers(due func(uint64) bool) {
	for index, list := range f.hashers {
		if !due(index) {
			continue
		}
		delete(f.hashers, index)
		for _, c := range list {
			c <- f.state.Snapshot()
		}
	}
}
