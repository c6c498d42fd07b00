package service

import (
	"context"
	"runtime"
	"time"

	"scaleout/fsm/command"
)

// turnsPerProcessor is how many calls of one caller may compute at the same time, for each processor: enough to use all
// processors, and so few that the goroutines of Raft, which have to be quick, never wait behind hundreds of a caller's.
const turnsPerProcessor = 2

// Turns are the places of one caller's calls that compute. A call that finds no free place waits; the door bounds how
// many do.
type Turns chan struct{}

// NewTurns makes the places of one caller.
func NewTurns() Turns { return make(Turns, turnsPerProcessor*runtime.GOMAXPROCS(0)) }

// Turn makes the turn of one call, which has no place yet.
func (t Turns) Turn() *Turn { return &Turn{places: t} }

// Turn is a call's place among those of its caller that compute. A door that lets only so many compute takes it and
// gives it to the call's context (WithTurn). The service leaves it while the call waits for a proof of leadership, a
// commit, a task for a worker, or the end of an execution; the door ends it when it waits for the caller. It belongs to
// the call's goroutine. All methods may be called on nil, which always has a place.
type Turn struct {
	places Turns
	held   bool
	over   bool
}

// Take waits for a place. When ctx ends meanwhile the call goes on without one, and sees by itself that its time is
// over.
func (t *Turn) Take(ctx context.Context) {
	if t == nil || t.held || t.over {
		return
	}
	select {
	case t.places <- struct{}{}:
		t.held = true
	case <-ctx.Done():
	}
}

func (t *Turn) leave() {
	if t == nil || !t.held {
		return
	}
	t.held = false
	<-t.places
}

// End leaves the place for good.
func (t *Turn) End() {
	if t == nil {
		return
	}
	t.leave()
	t.over = true
}

type turnKey struct{}

// WithTurn derives the context of a call that has a turn.
func WithTurn(ctx context.Context, t *Turn) context.Context {
	return context.WithValue(ctx, turnKey{}, t)
}

// leaveTurn leaves the place of the call that ctx belongs to, until back is called.
func leaveTurn(ctx context.Context) (back func()) {
	t, _ := ctx.Value(turnKey{}).(*Turn)
	t.leave()
	return func() { t.Take(ctx) }
}

// waitingProposer and waitingWorkers leave the call's turn while the call waits for them.
type waitingProposer struct{ Proposer }

func (p waitingProposer) Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error) {
	defer leaveTurn(ctx)()
	return p.Proposer.Propose(ctx, env)
}

func (p waitingProposer) Read(ctx context.Context) error {
	defer leaveTurn(ctx)()
	return p.Proposer.Read(ctx)
}

type waitingWorkers struct{ Workers }

func (w waitingWorkers) Register(
	ctx context.Context, cmd *command.RegisterWorker, received time.Time,
) (command.Registration, error) {
	defer leaveTurn(ctx)()
	return w.Workers.Register(ctx, cmd, received)
}

func (w waitingWorkers) Exchange(ctx context.Context, p command.Poll) (command.Answer, error) {
	defer leaveTurn(ctx)()
	return w.Workers.Exchange(ctx, p)
}

func (w waitingWorkers) Messages(
	ctx context.Context, worker string, parts []Part,
) ([]command.Accepted, error) {
	defer leaveTurn(ctx)()
	return w.Workers.Messages(ctx, worker, parts)
}
