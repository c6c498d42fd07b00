package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/command"
)

// proposer turns the commands of one leadership generation into Raft entries. Commands that arrive while entries are
// on their way form the next one, so batches grow with load and an idle leader waits for nothing. Results come from
// the state machine, by proposal number.
type proposer struct {
	id     uint64 // random, in every entry
	term   uint64
	apply  func(data []byte, timeout time.Duration) raft.ApplyFuture
	stamp  func() command.Time
	proved func(time.Time) // an entry given to Raft at that moment was committed in this term
	// patience bounds how long Raft's main loop may leave an entry untaken; it is busy or its disk is.
	patience time.Duration
	log      *slog.Logger
	metrics  *metrics
	futures  *watchers // watchers of futures, which may outlive the generation

	wake chan struct{}

	mu      sync.Mutex
	queue   []*proposal
	waiting int // bytes in queue
	flights map[uint64]*flight
	next    uint64
	holds   int       // how many hold commands back; nothing is sent while any does
	held    time.Time // entries are not sent before this: leadership is being transferred
	last    time.Time // when the last entry was sent
	closed  error
}

// flight is one entry on its way through Raft.
type flight struct {
	first     uint64
	proposals []*proposal
	sent      time.Time
}

func (p *proposer) enqueue(pr *proposal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return p.closed
	}
	if p.waiting+pr.size > maxWaitingBytes {
		return fmt.Errorf("%w: %d bytes wait for the log; want at most %d", command.ErrBusy, p.waiting, maxWaitingBytes)
	}
	p.queue = append(p.queue, pr)
	p.waiting += pr.size
	p.kick()
	return nil
}

// forget drops a withdrawn proposal at once, so that callers who give up do not fill the queue.
func (p *proposer) forget(pr *proposal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.queue, pr); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		p.waiting -= pr.size
	}
}

func (p *proposer) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run sends entries until ctx ends, then tells every caller how things stand.
func (p *proposer) run(ctx context.Context) {
	for ctx.Err() == nil {
		f, pause := p.take()
		if f != nil {
			p.send(f)
			continue
		}
		var timer <-chan time.Time
		if pause > 0 {
			timer = time.After(pause)
		}
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-timer:
		}
	}
	p.close()
}

// take forms the next entry; nil when there is nothing to send now, with the pause after which there may be.
func (p *proposer) take() (*flight, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 || len(p.flights) >= maxFlights || p.holds > 0 {
		return nil, 0
	}
	now := time.Now()
	if pause := p.held.Sub(now); pause > 0 {
		return nil, pause
	}
	var batch []*proposal
	size, used := 0, 0
	for _, pr := range p.queue {
		if len(batch) > 0 && size+pr.size > command.SoftEntry {
			break
		}
		used++
		p.waiting -= pr.size
		if !pr.take() {
			continue // its caller has gone
		}
		batch = append(batch, pr)
		size += pr.size
	}
	p.queue = slices.Delete(p.queue, 0, used)
	if len(batch) == 0 {
		return nil, 0
	}
	f := &flight{first: p.next, proposals: batch, sent: now}
	p.next += uint64(len(batch))
	p.last = now
	// Known before Raft has it: the state machine may answer before apply returns.
	p.flights[f.first] = f
	return f, 0
}

func (p *proposer) send(f *flight) {
	now := p.stamp()
	entry := command.Entry{Proposer: p.id, First: f.first, Commands: make([]command.Envelope, len(f.proposals))}
	for i, pr := range f.proposals {
		entry.Commands[i] = pr.env
		entry.Commands[i].Time = now
	}
	data, err := command.Encode(entry)
	if err != nil {
		p.finish(f, func(int) outcome { return outcome{err: fmt.Errorf("encode a log entry: %w", err)} })
		return
	}
	p.metrics.entry(len(f.proposals), len(data))
	future := p.apply(data, p.patience)
	p.futures.Go(func() { p.settle(f, future.Error()) })
}

// settle learns from a future only what the state machine cannot tell: that Raft did not take the entry.
func (p *proposer) settle(f *flight, err error) {
	switch {
	case err == nil:
		// The state machine answered before the future did; only a gap between the two leaves something here.
		p.finish(f, func(int) outcome {
			return outcome{err: fmt.Errorf("%w: committed, but the state machine gave no answer",
				command.ErrUnknownOutcome)}
		})
	case errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		p.putBack(f)
	case errors.Is(err, raft.ErrNotLeader):
		p.finish(f, func(int) outcome { return outcome{err: command.ErrNotLeader} })
	case errors.Is(err, raft.ErrAbortedByRestore):
		p.finish(f, func(int) outcome { return outcome{err: fmt.Errorf("%w: %w", command.ErrNotReady, err)} })
	default:
		p.finish(f, func(int) outcome { return outcome{err: fmt.Errorf("%w: %w", command.ErrUnknownOutcome, err)} })
	}
}

// putBack lets the commands of an entry that Raft refused for now wait in front of the others.
func (p *proposer) putBack(f *flight) {
	p.mu.Lock()
	if p.flights[f.first] != f {
		p.mu.Unlock()
		return // ended with the generation
	}
	if p.closed != nil {
		p.mu.Unlock()
		p.finish(f, func(int) outcome { return outcome{err: p.closed} })
		return
	}
	delete(p.flights, f.first)
	for _, pr := range f.proposals {
		pr.putBack()
		p.waiting += pr.size
	}
	p.queue = append(slices.Clone(f.proposals), p.queue...)
	p.held = time.Now().Add(holdPause)
	p.kick()
	p.mu.Unlock()
}

// applied takes the state machine's answers. It is called from its goroutine and must not block.
func (p *proposer) applied(a Applied) {
	if a.Proposer != p.id {
		return
	}
	p.mu.Lock()
	f := p.flights[a.First]
	p.mu.Unlock()
	if f == nil {
		return
	}
	p.finish(f, func(i int) outcome {
		if i >= len(a.Results) {
			return outcome{err: fmt.Errorf("%w: applied at index %d without a result",
				command.ErrUnknownOutcome, a.Index)}
		}
		return outcome{result: a.Results[i], index: a.Index}
	})
	if a.Term == p.term {
		p.proved(f.sent)
	}
}

// finish answers the callers of a flight, once.
func (p *proposer) finish(f *flight, answer func(i int) outcome) {
	p.mu.Lock()
	if p.flights[f.first] != f {
		p.mu.Unlock()
		return
	}
	delete(p.flights, f.first)
	p.kick()
	p.mu.Unlock()
	for i, pr := range f.proposals {
		pr.done <- answer(i)
	}
}

// close ends the generation for every caller: what Raft never got was not applied; the rest is unknown.
func (p *proposer) close() {
	p.mu.Lock()
	p.closed = command.ErrNotLeader
	queue := p.queue
	p.queue, p.waiting = nil, 0
	flights := make([]*flight, 0, len(p.flights))
	for _, f := range p.flights {
		flights = append(flights, f)
	}
	p.mu.Unlock()
	for _, pr := range queue {
		if pr.take() {
			pr.done <- outcome{err: fmt.Errorf("%w any more; the command was not proposed", command.ErrNotLeader)}
		}
	}
	for _, f := range flights {
		p.finish(f, func(int) outcome {
			return outcome{err: fmt.Errorf("%w: leadership ended before the command was committed",
				command.ErrUnknownOutcome)}
		})
	}
}

// hold holds commands back until release is called, and returns when what Raft has is answered, or ctx ends: an entry
// that is on its way when leadership goes has an unknown outcome. Who holds does so for itself: commands go on when the
// last one has let go.
func (p *proposer) hold(ctx context.Context) (release func()) {
	p.mu.Lock()
	p.holds++
	p.mu.Unlock()
	release = sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.holds--
		p.kick()
	})
	for {
		p.mu.Lock()
		flying := len(p.flights)
		p.mu.Unlock()
		if flying == 0 || !pauseFor(ctx, time.Millisecond) {
			return release
		}
	}
}

// idle is how long no entry has been sent.
func (p *proposer) idle() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.last)
}

// oldest is how long the oldest entry has been with Raft; time in our own queue does not count.
func (p *proposer) oldest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var d time.Duration
	for _, f := range p.flights {
		d = max(d, time.Since(f.sent))
	}
	return d
}
