package messages

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/segment"
)

// Limits of a segment: it is closed at whichever comes first.
const (
	packBytes = segment.SoftSize
	packTime  = 200 * time.Millisecond
	packParts = 2000 // the command that names them stays far below its limit
)

// ErrStopped is returned to calls that a stopped packer had not committed.
var ErrStopped = errors.New("this master stopped packing messages")

// Store writes a segment to a majority of the voters.
type Store interface {
	Store(ctx context.Context, r io.Reader, limit int64) (digest string, size int64, err error)
	Open(ctx context.Context, digest string) (io.ReadCloser, error)
}

// Proposer is the way into the log.
type Proposer interface {
	Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error)
}

// Item is a run of one attempt's messages, numbered from FirstSeq.
type Item struct {
	command.AttemptRef
	FirstSeq int64
	Messages []segment.Message
}

// Accepted answers one Item: NextSeq is the number that the state wants next. Code is "" when the messages are in, or
// a rejection code: "gap" when FirstSeq is past NextSeq, "fenced" when the worker never held the attempt.
type Accepted struct {
	command.AttemptRef
	NextSeq int64
	Code    string
	Detail  string
}

// Packer packs while this node leads.
type Packer struct {
	store   Store
	propose Proposer
	log     *slog.Logger

	mu      sync.Mutex
	open    *pack
	running bool
	full    chan struct{} // capacity 1
}

// pack is a segment that is being filled.
type pack struct {
	parts   []segment.Part
	refs    []command.MessagePart
	bytes   int
	result  []Accepted
	err     error
	done    chan struct{}
	started time.Time
}

func (k *pack) full() bool { return k.bytes >= packBytes || len(k.parts) >= packParts }

// New makes a Packer; Run packs.
func New(store Store, propose Proposer, log *slog.Logger) *Packer {
	return &Packer{store: store, propose: propose, log: log.With("component", "messages"), full: make(chan struct{}, 1)}
}

// Add packs a worker's messages and returns when they are committed, one answer per item in order.
func (p *Packer) Add(ctx context.Context, worker string, items []Item) ([]Accepted, error) {
	if len(items) == 0 {
		return nil, nil
	}
	p.mu.Lock()
	if !p.running {
		p.mu.Unlock()
		return nil, ErrStopped
	}
	if p.open == nil {
		p.open = &pack{done: make(chan struct{}), started: time.Now()}
	}
	k := p.open
	first := len(k.parts)
	for _, it := range items {
		k.refs = append(k.refs, command.MessagePart{
			TaskID: it.TaskID, Attempt: it.Attempt, Worker: worker,
			FirstSeq: it.FirstSeq, Count: len(it.Messages), Part: len(k.parts),
		})
		k.parts = append(k.parts, segment.Part{
			TaskID: it.TaskID, Attempt: it.Attempt, FirstSeq: it.FirstSeq, Messages: it.Messages,
		})
		for _, m := range it.Messages {
			k.bytes += len(m.Text) + 16
		}
	}
	if k.full() || first == 0 {
		p.poke()
	}
	p.mu.Unlock()
	select {
	case <-k.done:
		if k.err != nil {
			return nil, k.err
		}
		return k.result[first : first+len(items)], nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *Packer) poke() {
	select {
	case p.full <- struct{}{}:
	default:
	}
}

// Run packs until ctx ends; calls that were not committed by then get ErrStopped.
func (p *Packer) Run(ctx context.Context) error {
	p.mu.Lock()
	p.running = true
	p.mu.Unlock()
	defer p.stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		k, wait := p.take()
		if k != nil {
			p.commit(ctx, k)
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-p.full:
		case <-timer.C:
		}
	}
}

func (p *Packer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = false
	if p.open != nil {
		p.open.err = ErrStopped
		close(p.open.done)
		p.open = nil
	}
}

// take returns the open pack if it is full or old enough, else how long to wait.
func (p *Packer) take() (*pack, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.open
	if k == nil {
		return nil, time.Hour
	}
	if age := time.Since(k.started); !k.full() && age < packTime {
		return nil, packTime - age
	}
	p.open = nil
	return k, 0
}

func (p *Packer) commit(ctx context.Context, k *pack) {
	defer close(k.done)
	k.result, k.err = p.write(ctx, k)
	if k.err != nil && ctx.Err() == nil {
		p.log.Warn("messages not committed; the workers send them again", "parts", len(k.parts), "bytes", k.bytes, "err", k.err)
	}
}

func (p *Packer) write(ctx context.Context, k *pack) ([]Accepted, error) {
	raw, err := segment.Encode(k.parts)
	if err != nil {
		return nil, err
	}
	digest, size, err := p.store.Store(ctx, bytes.NewReader(raw), segment.MaxPlain)
	if err != nil {
		return nil, err
	}
	env, err := command.Wrap(&command.AppendMessages{Segment: digest, Size: size, Parts: k.refs})
	if err != nil {
		return nil, err
	}
	env.Caller = command.Caller{Kind: "master", Name: "messages"}
	result, _, err := p.propose.Propose(ctx, env)
	if err != nil {
		return nil, err
	}
	if result.Rejection != nil {
		return nil, result.Rejection
	}
	if len(result.Items) != len(k.refs) {
		return nil, errors.New("the state machine answered another number of parts than were sent")
	}
	out := make([]Accepted, len(k.refs))
	for i, item := range result.Items {
		out[i] = Accepted{
			AttemptRef: command.AttemptRef{TaskID: k.refs[i].TaskID, Attempt: k.refs[i].Attempt},
			NextSeq:    item.Value, Code: item.Code, Detail: item.Detail,
		}
	}
	return out, nil
}
