package httpapi

import (
	"context"
	"runtime"
	"time"

	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

// turnsPerProcessor is how many calls of one caller compute at a time for each processor: enough to use all of them, and
// few enough that Raft's own goroutines, which have to be quick, never wait behind hundreds of a caller's.
const turnsPerProcessor = 2

// turns are the places of one caller's calls that compute. Who finds none waits in line, within MaxCallsInFlight.
type turns chan struct{}

func newTurns() turns { return make(turns, turnsPerProcessor*runtime.GOMAXPROCS(0)) }

// turn is a call's place among those of its caller that compute. It is left while the call waits for anything else: a
// proof, a commit, work to give to a worker, a caller who takes the answer. It belongs to the call's goroutine. All
// methods may be called on nil, which has a place always.
type turn struct {
	places turns
	held   bool
	over   bool
}

// take waits for a place. A call whose time ends meanwhile goes on without one: it finds out by itself.
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

// away leaves the place of the call that ctx belongs to, until back is called.
func away(ctx context.Context) (back func()) {
	t, _ := ctx.Value(turnKey{}).(*turn)
	t.leave()
	return func() { t.take(ctx) }
}

// waitingProposer and waitingWorkers leave the call's turn for as long as the others work.
type waitingProposer struct{ Proposer }

func (p waitingProposer) Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error) {
	defer away(ctx)()
	return p.Proposer.Propose(ctx, env)
}

func (p waitingProposer) Read(ctx context.Context) error {
	defer away(ctx)()
	return p.Proposer.Read(ctx)
}

type waitingWorkers struct{ Workers }

func (w waitingWorkers) Register(
	ctx context.Context, cmd *command.RegisterWorker, received time.Time,
) (command.Registration, error) {
	defer away(ctx)()
	return w.Workers.Register(ctx, cmd, received)
}

func (w waitingWorkers) Exchange(ctx context.Context, p command.Poll) (command.Answer, error) {
	defer away(ctx)()
	return w.Workers.Exchange(ctx, p)
}

func (w waitingWorkers) Messages(
	ctx context.Context, worker string, items []wire.MessagesItem,
) ([]command.Accepted, error) {
	defer away(ctx)()
	return w.Workers.Messages(ctx, worker, items)
}
