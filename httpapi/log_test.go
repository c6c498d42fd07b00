package httpapi

import (
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"unicode"

	"scaleout/fsm/command"
)

// logText is a log that a test reads.
type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestLogLinesQuoteWhatCallersSay: nothing that a caller sends, or that its certificate says, reaches the log as it is.
func TestLogLinesQuoteWhatCallersSay(t *testing.T) {
	out := &logText{}
	w := newWorld(t, 1, func(c *parts) {
		c.Logger = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.calls.Logger = c.Logger
	})
	evil := "x\x1b[2J\u009b1m\u202eexe\nlevel=ERROR"
	caller := command.Caller{Kind: "user", Name: "u" + evil}
	base := w.nodes[0].srv.URL
	for _, x := range []struct{ method, path, body string }{
		{"POST", "/v1/catalog/procedures/" + url.PathEscape(evil), `{}`},
		{"POST", "/v1/catalog/procedures/create_folder", `{"folder_name":"a"}`},
		{"GET", "/v1/catalog/views/" + url.PathEscape(evil), ""},
		{"GET", "/" + url.PathEscape(evil), ""},
		{"GET", "/v1/events?after=" + url.QueryEscape(evil), ""},
	} {
		if g := do(t, w.as(&caller), x.method, base+x.path, x.body); g.StatusCode < 400 {
			t.Fatal(x.path, g.StatusCode)
		}
	}
	text := out.String()
	if !strings.Contains(text, "request failed") {
		t.Fatal(text)
	}
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if !strings.HasPrefix(line, "time=") || strings.ContainsFunc(line, func(r rune) bool {
			return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
		}) {
			t.Errorf("%q", line)
		}
	}
}
