package httpapi

import (
	"context"
	"runtime"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/segment"
	"scaleout/httpapi/service"
)

// turnsPerProcessor is how many calls of one caller may compute at the same time, for each processor: enough to use all
// processors, and so few that the goroutines of Raft, which have to be quick, never wait behind hundreds of a caller's.
const turnsPerProcessor = 2

// turns are the places of one caller's calls that compute. A call that finds no free place waits; MaxCallsInFlight
// bounds how many do.
type turns chan struct{}

func newTurns() turns { return make(turns, turnsPerProcessor*runtime.GOMAXPROCS(0)) }

// turn is a call's place among those of its caller that compute. The call leaves it while it waits for anything else: a
// proof of leadership, a commit, a task for a worker, a caller who takes the answer. It belongs to the call's
// goroutine. All methods may be called on nil, which always has a place.
type turn struct {
	places turns
	held   bool
	over   bool
}

// take waits for a place. When ctx ends meanwhile the call goes on without one, and sees by itself that its time is
// over.
func (t *turn) take(ctx context.Context) {
	if t == nil || t.held || t.over {
		return
	}
	select {
	case t.places <- struct{}{}:
		t.held = true
	case <-ctx.Done():
	}
}

func (t *turn) leave() {
	if t == nil || !t.held {
		return
	}
	t.held = false
	<-t.places
}

// end leaves the place for good.
func (t *turn) end() {
	if t == nil {
		return
	}
	t.leave()
	t.over = true
}

type turnKey struct{}

// leaveTurn leaves the place of the call that ctx belongs to, until back is called.
func leaveTurn(ctx context.Context) (back func()) {
	t, _ := ctx.Value(turnKey{}).(*turn)
	t.leave()
	return func() { t.take(ctx) }
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

type waitingWorkers struct{ service.Workers }

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
	ctx context.Context, worker string, parts []segment.Part,
) ([]command.Accepted, error) {
	defer leaveTurn(ctx)()
	return w.Workers.Messages(ctx, worker, parts)
}
