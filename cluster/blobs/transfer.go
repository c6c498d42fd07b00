package blobs

import (
	"context"
	"errors"
	"io"
	"time"
)

// transfer is one push or fetch. It may take as long as it needs, but must not stand still, so that a silent peer does
// not hold it for ever.
type transfer struct {
	stall time.Duration
	timer *time.Timer
}

// errStall ends a transfer that stands still.
var errStall = errors.New("the transfer stands still")

// begin starts a transfer, which ends with Run at the latest. Its caller ends it with the returned function, which
// returns why the transfer failed, or nil.
func (k *Keeper) begin() (context.Context, *transfer, func(error) error) {
	k.mu.Lock()
	runCtx := k.runCtx
	k.mu.Unlock()
	ctx, cancel := context.WithCancelCause(runCtx)
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

// wrap returns a reader of content. Each read shows that the transfer does not stand still.
func (t *transfer) wrap(r io.ReadCloser) io.ReadCloser { return &moving{r, t} }

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

// stopped reports whether Run has ended.
func (k *Keeper) stopped() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.runCtx.Err() != nil
}
