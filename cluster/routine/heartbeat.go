package routine

import (
	"context"
	"log/slog"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// Proposer is the way into the log.
type Proposer interface {
	Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error)
}

// propose proposes a command of the leader itself, in the name of a routine, and turns a rejection into an error.
func propose(ctx context.Context, p Proposer, routine string, cmd command.Command) (command.Result, error) {
	env, err := command.Wrap(cmd)
	if err != nil {
		return command.Result{}, err
	}
	env.Caller = command.Caller{Kind: "master", Name: routine}
	result, _, err := p.Propose(ctx, env)
	if err == nil && result.Rejection != nil {
		err = result.Rejection
	}
	return result, err
}

// every calls round at once and then at each interval until ctx ends.
func every(ctx context.Context, interval time.Duration, round func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		round()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Heartbeat writes LAST_ONLINE_TIME, each master's row and the workers' last contacts, in one batch each Interval
// (MasterHeartbeatIntervalInMs).
type Heartbeat struct {
	Interval time.Duration
	Proposer Proposer
	// Masters returns the rows of the masters that this leader knows to be alive, and the ids of rows to be deleted.
	Masters func(ctx context.Context) (rows []command.MasterBeat, gone []string)
	// Contacts returns the workers that were heard from since the given moment.
	Contacts func(since time.Time) []command.WorkerBeat
	Logger   *slog.Logger
}

// beatBatch bounds the workers of one command.
const beatBatch = 1000

// Run beats until ctx ends.
func (h *Heartbeat) Run(ctx context.Context) error {
	var since time.Time
	every(ctx, h.Interval, func() {
		now := time.Now()
		if err := h.beat(ctx, since); err != nil {
			if ctx.Err() == nil {
				h.Logger.LogAttrs(ctx, slog.LevelWarn, "heartbeat not written; the next one carries it", slog.Any(logkey.Err, err))
			}
			return
		}
		since = now
	})
	return nil
}

func (h *Heartbeat) beat(ctx context.Context, since time.Time) error {
	rows, gone := h.Masters(ctx)
	workers := h.Contacts(since)
	for {
		n := min(len(workers), beatBatch)
		if _, err := propose(ctx, h.Proposer, "heartbeat", &command.Beat{Masters: rows, Gone: gone,
			Workers: workers[:n]}); err != nil {
			return err
		}
		if workers = workers[n:]; len(workers) == 0 {
			return nil
		}
		rows, gone = nil, nil
	}
}
