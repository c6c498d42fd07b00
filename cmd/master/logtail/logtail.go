package logtail

import (
	"context"
	"log/slog"
	"strings"
	"sync"
)

// Size is how many lines a Tail holds, and widest how many bytes of each: a line can quote what others sent.
const (
	Size   = 2000
	widest = 4 << 10
)

// Tail holds the newest lines of a log. The zero value is empty and ready.
type Tail struct {
	mu    sync.Mutex
	lines [Size]string
	next  int
}

// Logger returns a logger that writes to log and to the tail.
func (t *Tail) Logger(log *slog.Logger) *slog.Logger {
	return slog.New(handler{log.Handler(), slog.NewTextHandler(t, nil)})
}

// Write appends one line, cut to its bound; it is the writer of the tail's own handler and never fails.
func (t *Tail) Write(p []byte) (int, error) {
	line := strings.TrimRight(string(p[:min(len(p), widest)]), "\n")
	if len(p) > widest {
		line = strings.ToValidUTF8(line, "") + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines[t.next%Size] = line
	t.next++
	return len(p), nil
}

// Lines returns the lines, the oldest first.
func (t *Tail) Lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for i := max(0, t.next-Size); i < t.next; i++ {
		out = append(out, t.lines[i%Size])
	}
	return out
}

// handler hands each record to the log and to the tail.
type handler struct{ log, tail slog.Handler }

func (h handler) Enabled(ctx context.Context, l slog.Level) bool { return h.log.Enabled(ctx, l) }

func (h handler) Handle(ctx context.Context, rec slog.Record) error {
	if h.tail.Enabled(ctx, rec.Level) {
		_ = h.tail.Handle(ctx, rec.Clone()) // Write does not fail
	}
	return h.log.Handle(ctx, rec)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.log.WithAttrs(attrs), h.tail.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.log.WithGroup(name), h.tail.WithGroup(name)}
}
