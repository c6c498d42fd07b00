package service

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/procedure"
	"scaleout/fsm/sqltype"
)

// node is a master that may have missed what others have acknowledged: a proof of leadership brings it up to date.
type node struct {
	world  *fsmtest.World
	reader *catalog.Reader // nil: it reads the world as it is
	leads  bool
	proofs int
	did    []command.Kind
	taken  []Part
	// planning is called before each plan, opening before a blob is opened.
	planning func()
	opening  func() error
}

// service makes the service of the node.
func (n *node) service(t *testing.T) *Service {
	t.Helper()
	s, err := New(Config{
		Proposer: n, State: n, Workers: n, Blobs: blobs{n.world, n}, Live: n.world.Live, Messages: n.world,
		Seal: func(sqltype.Secret[string], string) (*command.Sealed, error) { panic("nothing here is sealed") },
		Open: n.world.Unseal, Settings: func() procedure.Config {
			if n.planning != nil {
				n.planning()
			}
			return n.world.Config
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func (n *node) Reader() *catalog.Reader {
	if n.reader != nil {
		return n.reader
	}
	return n.world.State.Reader()
}

func (n *node) Changed(index uint64) <-chan struct{} {
	c := make(chan struct{})
	if n.Reader().Index() > index {
		close(c)
	}
	return c
}

func (n *node) Hash(context.Context) (uint64, string, error) { return n.Reader().Index(), "now", nil }

func (n *node) HashAt(ctx context.Context, index uint64) (string, error) {
	switch now := n.Reader().Index(); {
	case now > index:
		return "", command.ErrIndexPassed
	case now < index:
		<-ctx.Done()
		return "", context.Cause(ctx)
	}
	return "there", nil
}

func (n *node) Propose(_ context.Context, env command.Envelope) (command.Result, uint64, error) {
	if !n.leads {
		return command.Result{}, 0, command.ErrNotLeader
	}
	n.did = append(n.did, env.Kind)
	return n.world.Apply(env), n.world.State.Index(), nil
}

func (n *node) Read(context.Context) error {
	n.proofs++
	if !n.leads {
		return command.ErrNotLeader
	}
	n.reader = nil
	return nil
}

func (n *node) Hold(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

func (n *node) Register(context.Context, *command.RegisterWorker, time.Time) (command.Registration, error) {
	return command.Registration{}, nil
}

func (n *node) Exchange(ctx context.Context, _ command.Poll) (command.Answer, error) {
	<-ctx.Done()
	return command.Answer{}, ctx.Err()
}

func (n *node) Messages(_ context.Context, _ string, parts []Part) ([]command.Accepted, error) {
	n.taken = append(n.taken, parts...)
	return make([]command.Accepted, len(parts)), nil
}

// blobs are the world's.
type blobs struct {
	*fsmtest.World
	node *node
}

func (b blobs) Open(ctx context.Context, digest string) (procedure.ReaderAtCloser, int64, error) {
	if b.node.opening != nil {
		if err := b.node.opening(); err != nil {
			return nil, 0, err
		}
	}
	return b.World.Open(ctx, digest)
}

func (b blobs) Put(_ context.Context, _, digest string, _ int64, r io.Reader) (int64, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	b.World.Blobs[digest] = bytes.Clone(data)
	return int64(len(data)), nil
}
