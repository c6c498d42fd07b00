package httpapi

import (
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
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

// everyThird is a Throttle that leaves out two lines of each reason, then lets one through.
type everyThird map[string]int

func (e everyThird) Due(reason string, _ time.Time) (silent int, ok bool) {
	e[reason]++
	return 2, e[reason]%3 == 0
}

// TestStrangersDoNotFillTheLog: of the callers who are not of this cluster only those are logged that the throttle lets
// through, each kind of refusal by itself, with how many were left out.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	out := &logText{}
	w := newWorld(t, 1, func(c *parts) {
		c.Logger = slog.New(slog.NewTextHandler(out, nil))
		c.Refusals = everyThird{}
	})
	other := newAuthority(t, "c2")
	url := w.nodes[0].srv.URL + "/v1/cluster"
	for range 7 {
		do(t, w.as(nil), "GET", url, "")
	}
	for range 2 {
		do(t, w.with(other, &root), "GET", url, "")
	}
	text := out.String()
	if strings.Count(text, "caller refused") != 2 ||
		strings.Count(text, "code=certificate_required") != 2 || strings.Count(text, "more_since_last=2") != 2 {
		t.Error(text)
	}
}
