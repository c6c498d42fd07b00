package blobs

import (
	"context"

	"scaleout/fsm/command"
)

// Log is the way into the log.
type Log interface {
	Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error)
}

// Proposer proposes a command that is the first to name a blob only once a majority holds that blob, so that no row
// names what might be lost.
type Proposer struct {
	Keeper *Keeper
	Log    Log
}

// Propose is the Log's. If the blob is not on a majority, the command does not reach the log.
func (p Proposer) Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error) {
	digest, err := env.Blob()
	if err != nil {
		return command.Result{}, 0, err
	}
	if digest != "" {
		if err := p.Keeper.Ensure(ctx, digest); err != nil {
			return command.Result{}, 0, err
		}
	}
	return p.Log.Propose(ctx, env)
}
