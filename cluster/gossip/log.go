package gossip

import (
	"context"
	"log/slog"
	"strings"
)

// lineWriter turns memberlist's "[LEVEL] memberlist: text" lines into records. Its warnings are everyday matters of a
// network and become Info; nothing that it says needs a person at once.
type lineWriter struct{ log *slog.Logger }

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
	line = strings.TrimPrefix(line, "memberlist: ")
	w.log.Log(context.Background(), level, "gossip: "+line)
	return len(p), nil
}

// firstLine is the gist of an error that lists many.
func firstLine(err error) string {
	s, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return s
}
