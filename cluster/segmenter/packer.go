package segmenter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/fsm/segment"
)

// Limits of a segment. It is closed at whichever comes first.
const (
	packBytes = segment.SoftSize
	packTime  = 200 * time.Millisecond
	packParts = 2000 // the command that names them stays far below its limit
)

// errStopped: the packer stopped before the messages were committed. Where the commit is in doubt, the proposer's
// error is wrapped beside it.
var errStopped = fmt.Errorf("%w any more: it stopped packing messages", command.ErrNotLeader)

// Store writes a segment to a majority of the voters.
type Store interface {
	Store(ctx context.Context, r io.Reader, limit int64) (digest string, size int64, err error)
	Open(ctx context.Context, digest string) (io.ReadCloser, error)
}

// State is the replicated state.
type State interface {
	Reader() *catalog.Reader
}

// Proposer is the way into the log.
type Proposer interface {
	Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error)
}

// Packer packs while this node leads.
type Packer struct {
	store   Store
	state   State
	propose Proposer
	log     *slog.Logger

	mu      sync.Mutex
	packs   []*pack // the last one is being filled, those before it are full
	running bool
	full    chan struct{} // capacity 1
}

// pack is a segment that is being filled.
type pack struct {
	parts   []segment.Part
	refs    []command.MessagePart
	bytes   int
	result  []command.Accepted
	err     error
	done    chan struct{}
	started time.Time
}

// full reports whether the pack takes no more parts. A pack never grows beyond what one command can name, however long
// the commit of the pack before it takes.
func (k *pack) full(more int) bool {
	return k.bytes >= packBytes || len(k.parts)+more > packParts && len(k.parts) > 0
}

// New makes a Packer; Run packs.
func New(store Store, state State, propose Proposer, log *slog.Logger) *Packer {
	return &Packer{store: store, state: state, propose: propose, log: log.With(slog.String(logkey.Component, "messages")),
		full: make(chan struct{}, 1)}
}

// Add packs a worker's messages and returns when they are committed, one answer per item in order.
func (p *Packer) Add(ctx context.Context, worker string, items []segment.Part) ([]command.Accepted, error) {
	if len(items) == 0 {
		return nil, nil
	}
	p.mu.Lock()
	if !p.running {
		p.mu.Unlock()
		return nil, errStopped
	}
	if n := len(p.packs); n == 0 || p.packs[n-1].full(len(items)) {
		p.packs = append(p.packs, &pack{done: make(chan struct{}), started: time.Now()})
	}
	k := p.packs[len(p.packs)-1]
	first := len(k.parts)
	for _, it := range items {
		text := 0
		for _, m := range it.Messages {
			text += len(m.Text)
		}
		k.bytes += text + 16*len(it.Messages)
		k.refs = append(k.refs, command.MessagePart{
			TaskID: it.TaskID, Attempt: it.Attempt, Worker: worker,
			FirstSeq: it.FirstSeq, Count: len(it.Messages), Part: len(k.parts), Bytes: int64(text),
		})
		k.parts = append(k.parts, it)
	}
	if k.full(1) || first == 0 {
		p.notify()
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

func (p *Packer) notify() {
	select {
	case p.full <- struct{}{}:
	default:
	}
}

// Run packs until ctx ends. Calls that are not committed by then fail with errStopped.
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
	for _, k := range p.packs {
		k.err = errStopped
		close(k.done)
	}
	p.packs = nil
}

// take returns the oldest pack if it is full or old enough, else how long to wait.
func (p *Packer) take() (*pack, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.packs) == 0 {
		return nil, time.Hour
	}
	k := p.packs[0]
	if age := time.Since(k.started); len(p.packs) == 1 && !k.full(1) && age < packTime {
		return nil, packTime - age
	}
	p.packs = p.packs[1:]
	return k, 0
}

func (p *Packer) commit(ctx context.Context, k *pack) {
	defer close(k.done)
	k.result, k.err = p.write(ctx, k)
	switch {
	case k.err == nil:
	case ctx.Err() != nil: // this packer is ended; the caller has not given up
		k.err = fmt.Errorf("%w: %w", errStopped, k.err)
	default:
		p.log.LogAttrs(ctx, slog.LevelWarn, "messages not committed; the workers send them again",
			slog.Int(logkey.Parts, len(k.parts)), slog.Int(logkey.Bytes, k.bytes), slog.Any(logkey.Err, k.err))
	}
}

func (p *Packer) write(ctx context.Context, k *pack) ([]command.Accepted, error) {
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
	out := make([]command.Accepted, len(k.refs))
	for i, item := range result.Items {
		out[i] = command.Accepted{
			AttemptRef: command.AttemptRef{TaskID: k.refs[i].TaskID, Attempt: k.refs[i].Attempt},
			NextSeq:    item.Value, Code: item.Code, Args: item.Args,
		}
	}
	return out, nil
}
