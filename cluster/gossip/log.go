package gossip

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"scaleout/cluster/admission"
	"scaleout/fsm/logkey"
)

// lineWriter turns memberlist's lines "[LEVEL] memberlist: text" into log records. Its warnings are everyday matters of
// a network and become Info: nothing that memberlist says needs a person at once. It writes a line for each bad packet,
// and anybody can send bad packets, so lines that differ only in what strangers choose are throttled.
type lineWriter struct {
	log      *slog.Logger
	throttle *admission.Throttle
}

func (w lineWriter) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	level := slog.LevelDebug
	for prefix, l := range map[string]slog.Level{
		"[ERR] ": slog.LevelWarn, "[WARN] ": slog.LevelInfo, "[INFO] ": slog.LevelDebug, "[DEBUG] ": slog.LevelDebug - 1,
	} {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			line, level = rest, l
			break
		}
	}
	if !w.log.Enabled(context.Background(), level) {
		return len(p), nil
	}
	line = strings.TrimPrefix(line, "memberlist: ")
	silent, due := w.throttle.Due(kindOf(line), time.Now())
	if !due {
		return len(p), nil
	}
	attrs := []slog.Attr{slog.String(logkey.Detail, line)}
	if silent > 0 {
		attrs = append(attrs, slog.Int(logkey.MoreSinceLast, silent))
	}
	w.log.LogAttrs(context.Background(), level, "gossip: memberlist says", attrs...)
	return len(p), nil
}

var chosen = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[0-9]+`)

// kindOf returns a line without addresses, numbers and quoted text.
func kindOf(line string) string {
	line, _, _ = strings.Cut(line, " from=")
	return chosen.ReplaceAllString(line, "#")
}

// firstLine returns the first line of an error that lists many.
func firstLine(err error) string {
	s, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return s
}
