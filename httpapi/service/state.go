package service

import (
	"context"
	"errors"
	"time"

	"scaleout/fsm/command"
)

// hashWait bounds how long a call for a state hash waits for its index.
const hashWait = 20 * time.Second

// Index is the index of this node's state.
func (s *Service) Index() uint64 { return s.cfg.State.Reader().Index() }

// StateHash is the hash of this node's state and the index that it is of. With a wanted index, 0 for none, it waits
// until the state is exactly there, within a bound.
//
// Errors are *IndexPassed, or wrap ErrTimeout.
func (s *Service) StateHash(ctx context.Context, want uint64) (index uint64, hash string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, hashWait, ErrTimeout)
	defer cancel()
	if want == 0 {
		return s.cfg.State.Hash(ctx)
	}
	hash, err = s.cfg.State.HashAt(ctx, want)
	if errors.Is(err, command.ErrIndexPassed) {
		err = &IndexPassed{Index: s.Index(), err: err}
	}
	return want, hash, err
}
