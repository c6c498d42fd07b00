package proposer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/command"
)

// Config of a Proposer. Every field is required.
type Config struct {
	// Term is Raft's term of this leadership.
	Term uint64
	// Apply hands an entry to Raft. The timeout bounds how long Raft's main loop may leave the entry untaken.
	Apply func(data []byte, timeout time.Duration) raft.ApplyFuture
	// Stamp is the time that the commands of an entry carry.
	Stamp func() command.Time
	// Committed is called when an entry that Raft was given at the moment sent was committed in Term: this node led then.
	Committed func(sent time.Time)
	// Go runs a function that waits for a Raft future. It may outlive Run, because some futures are never answered.
	Go      func(f func())
	Metrics *Metrics
}

// Proposer turns the commands of one leadership into Raft entries. Commands that arrive while entries are on their way
// form the next entry. The state machine's results find their callers by proposal number.
type Proposer struct {
	cfg  Config
	id   uint64 // random, in every entry
	wake chan struct{}

	mu      sync.Mutex
	queue   []*proposal
	queued  int // bytes in queue
	flights map[uint64]*flight
	next    uint64    // the number of the next proposal
	holds   int       // how many callers hold commands back; nothing is sent while any does
	retryAt time.Time // entries are not sent before this: leadership is being transferred
	last    time.Time // when the last entry was sent
	closed  error
}

// applyTimeout bounds how long Raft's main loop may leave an entry untaken: the loop is busy, or its disk is.
const applyTimeout = 2 * time.Second

// New makes a Proposer; Run makes it send.
func New(cfg Config) *Proposer {
	return &Proposer{
		cfg: cfg, id: randomID(), wake: make(chan struct{}, 1), flights: make(map[uint64]*flight), next: 1, last: time.Now(),
	}
}

// randomID is never zero.
func randomID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) | 1
}

// Applied is one entry's results, as the state machine gives them.
type Applied struct {
	Index    uint64
	Term     uint64
	Proposer uint64
	First    uint64
	Results  []command.Result
}

// flight is one entry on its way through Raft.
type flight struct {
	first     uint64
	proposals []*proposal
	sent      time.Time
}

func (p *Proposer) enqueue(pr *proposal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return p.closed
	}
	if p.queued+pr.size > maxQueuedBytes {
		return fmt.Errorf("%w: %d bytes wait for the log; want at most %d", command.ErrBusy, p.queued, maxQueuedBytes)
	}
	p.queue = append(p.queue, pr)
	p.queued += pr.size
	p.notify()
	return nil
}

// forget drops a withdrawn proposal at once, so that the queue does not fill with proposals whose callers gave up.
func (p *Proposer) forget(pr *proposal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.queue, pr); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		p.queued -= pr.size
	}
}

func (p *Proposer) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run sends entries until ctx ends, then tells every caller what became of its command.
func (p *Proposer) Run(ctx context.Context) {
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

// take forms the next entry. If there is nothing to send now, it returns nil and the pause after which there may be.
func (p *Proposer) take() (*flight, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 || len(p.flights) >= maxFlights || p.holds > 0 {
		return nil, 0
	}
	now := time.Now()
	if pause := p.retryAt.Sub(now); pause > 0 {
		return nil, pause
	}
	var batch []*proposal
	size, used := 0, 0
	for _, pr := range p.queue {
		if len(batch) > 0 && size+pr.size > command.SoftEntry {
			break
		}
		used++
		p.queued -= pr.size
		if !pr.take() {
			continue // its caller gave up
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
	// The flight is entered before Raft gets it, because the state machine may answer before Apply returns.
	p.flights[f.first] = f
	return f, 0
}

func (p *Proposer) send(f *flight) {
	now := p.cfg.Stamp()
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
	p.cfg.Metrics.entry(len(f.proposals), len(data))
	future := p.cfg.Apply(data, applyTimeout)
	p.cfg.Go(func() { p.settle(f, future.Error()) })
}

// settle takes from a future only what the state machine cannot say: that Raft did not take the entry.
func (p *Proposer) settle(f *flight, err error) {
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

// putBack puts the commands of an entry that Raft refused for now in front of the queue.
func (p *Proposer) putBack(f *flight) {
	p.mu.Lock()
	if p.flights[f.first] != f {
		p.mu.Unlock()
		return // ended with the leadership
	}
	if p.closed != nil {
		p.mu.Unlock()
		p.finish(f, func(int) outcome { return outcome{err: p.closed} })
		return
	}
	delete(p.flights, f.first)
	for _, pr := range f.proposals {
		pr.putBack()
		p.queued += pr.size
	}
	p.queue = append(slices.Clone(f.proposals), p.queue...)
	p.retryAt = time.Now().Add(retryPause)
	p.notify()
	p.mu.Unlock()
}

// Applied takes the results of an entry. The state machine calls it from the goroutine that applies, so it never
// blocks.
func (p *Proposer) Applied(a Applied) {
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
	if a.Term == p.cfg.Term {
		p.cfg.Committed(f.sent)
	}
}

// finish answers the callers of a flight. Only the first call for a flight does.
func (p *Proposer) finish(f *flight, answer func(i int) outcome) {
	p.mu.Lock()
	if p.flights[f.first] != f {
		p.mu.Unlock()
		return
	}
	delete(p.flights, f.first)
	p.notify()
	p.mu.Unlock()
	for i, pr := range f.proposals {
		pr.done <- answer(i)
	}
}

// close ends the leadership for every caller: a command that Raft never got was not applied, the outcome of every other
// one is unknown.
func (p *Proposer) close() {
	p.mu.Lock()
	p.closed = command.ErrNotLeader
	queue := p.queue
	p.queue, p.queued = nil, 0
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

// Hold holds commands back until release is called. It returns when no entry is on its way any more, or when ctx ends:
// an entry that is on its way when leadership goes has an unknown outcome. Several callers may hold at once; commands
// go on when the last of them has released.
func (p *Proposer) Hold(ctx context.Context) (release func()) {
	p.mu.Lock()
	p.holds++
	p.mu.Unlock()
	release = sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.holds--
		p.notify()
	})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for p.flying() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return release
		}
	}
	return release
}

// flying is the number of entries on their way.
func (p *Proposer) flying() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.flights)
}

// Idle is the time since the last entry was sent.
func (p *Proposer) Idle() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.last)
}

// Oldest is how long the oldest entry has been with Raft; time in the proposer's own queue does not count.
func (p *Proposer) Oldest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var d time.Duration
	for _, f := range p.flights {
		d = max(d, time.Since(f.sent))
	}
	return d
}
