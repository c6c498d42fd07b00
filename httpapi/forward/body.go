package forward

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"scaleout/fsm/logkey"
)

// errSealed is the error of a read that comes after the body was sealed.
var errSealed = errors.New("the body is sent by another attempt")

// onceBody is a streamed body, which nobody can read from its beginning again once something of it was read. Close does
// not close the caller's body: the server does that, and the caller's next request must not be lost with it.
type onceBody struct {
	io.ReadCloser
	state atomic.Int32
}

// States of a onceBody. Only the first one has successors.
const (
	untouched int32 = iota
	touched
	sealed
)

func (b *onceBody) Read(p []byte) (int, error) {
	if !b.state.CompareAndSwap(untouched, touched) && b.state.Load() == sealed {
		return 0, errSealed
	}
	return b.ReadCloser.Read(p)
}

func (b *onceBody) Close() error { return nil }

// seal reports whether nothing of the body was read, and sees to it that nothing will be: net/http may still begin to
// read the body of a request that has failed, while another attempt sends it.
func (b *onceBody) seal() bool {
	return b == nil || b.state.CompareAndSwap(untouched, sealed) || b.state.Load() == sealed
}

// uploadBody is a streamed body on its way to the leader. While it is read, this node waits for the caller and not for
// the leader.
type uploadBody struct {
	*onceBody
	idle *idleTimer
}

func (b *uploadBody) Read(p []byte) (int, error) {
	b.idle.pause()
	defer b.idle.restart()
	return b.onceBody.Read(p)
}

// answerBody is the body of the leader's answer. Between two reads, this node waits for the caller to take it and not
// for the leader.
type answerBody struct {
	io.ReadCloser
	*attempt
}

func (b *answerBody) Read(p []byte) (int, error) {
	b.idle.restart()
	n, err := b.ReadCloser.Read(p)
	b.idle.pause()
	if err != nil && err != io.EOF {
		b.log.LogAttrs(b.ctx, slog.LevelInfo, "the leader's answer broke off",
			slog.String(logkey.Path, b.target.Path), slog.Any(logkey.Err, err))
	}
	return n, err
}

// buffers lends the buffers through which answers are copied: they are most of the memory that a forwarded call takes.
type buffers struct{}

var bufferPool = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (buffers) Get() []byte  { return bufferPool.Get().(*[32 << 10]byte)[:] }
func (buffers) Put(b []byte) { bufferPool.Put((*[32 << 10]byte)(b)) }

// idleTimer ends a call whose leader gives no sign of life for too long.
type idleTimer struct {
	quiet time.Duration
	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

func newIdleTimer(quiet time.Duration, expired func()) *idleTimer {
	return &idleTimer{quiet: quiet, timer: time.AfterFunc(quiet, expired)}
}

func (t *idleTimer) restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.timer.Reset(t.quiet)
	}
}

func (t *idleTimer) pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer.Stop()
}

func (t *idleTimer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.timer.Stop()
}
