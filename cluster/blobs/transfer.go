package blobs

import (
	"context"
	"errors"
	"io"
	"time"
)

// transfer is one push or fetch. It may take as long as it needs, but not stand still: a silent peer must not hold it for ever.
type transfer struct {
	stall time.Duration
	timer *time.Timer
}

// errStall ends a transfer that stands still.
var errStall = errors.New("the transfer stands still")

// begin starts a transfer, which ends with Run; whoever begins it ends it with the returned function, which says why it
// failed if it did.
func (k *Keeper) begin() (context.Context, *transfer, func(error) error) {
	k.mu.Lock()
	base := k.base
	k.mu.Unlock()
	ctx, cancel := context.WithCancelCause(base)
	t := &transfer{stall: k.cfg.Stall, timer: time.AfterFunc(k.cfg.Stall, func() { cancel(errStall) })}
	return ctx, t, func(err error) error {
		t.timer.Stop()
		if err != nil && errors.Is(context.Cause(ctx), errStall) {
			err = errStall
		}
		cancel(nil)
		return err
	}
}

// of is content whose reading keeps the transfer going.
func (t *transfer) of(r io.ReadCloser) io.ReadCloser { return &moving{r, t} }

type moving struct {
	io.ReadCloser
	t *transfer
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if n > 0 {
		m.t.timer.Reset(m.t.stall)
	}
	return n, err
}

// stopped says whether Run has ended.
func (k *Keeper) stopped() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.base.Err() != nil
}
