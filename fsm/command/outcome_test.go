package command_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"scaleout/fsm/command"
)

func TestNotApplied(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"no error", nil, false},
		{"not the leader", command.ErrNotLeader, true},
		{"no leader", command.ErrNoLeader, true},
		{"not ready", command.ErrNotReady, true},
		{"leadership in doubt", command.ErrDoubt, true},
		{"busy", command.ErrBusy, true},
		{"too large", command.ErrTooLarge, true},
		{"level", command.ErrLevel, true},
		{"stopping", command.ErrStopping, true},
		{"wrapped", fmt.Errorf("around: %w", command.ErrBusy), true},
		{"two certain ones", fmt.Errorf("%w: %w", command.ErrStopping, command.ErrNoLeader), true},
		{"unknown outcome", command.ErrUnknownOutcome, false},
		{"unknown before certain", fmt.Errorf("%w; then: %w", command.ErrUnknownOutcome, command.ErrNoLeader), false},
		{"certain before unknown", fmt.Errorf("%w: %w", command.ErrStopping, command.ErrUnknownOutcome), false},
		{"joined", errors.Join(command.ErrNotLeader, command.ErrUnknownOutcome), false},
		{"canceled", context.Canceled, false},
		{"out of time", fmt.Errorf("propose: %w", context.DeadlineExceeded), false},
		{"a foreign error", errors.New("this master does not lead"), false},
		{"a blob without a majority", command.ErrNoMajority, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := command.NotApplied(c.err); got != c.want {
				t.Errorf("NotApplied(%v) = %t; want %t", c.err, got, c.want)
			}
		})
	}
}
