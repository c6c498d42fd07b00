package guard

import (
	"context"
	"log/slog"
)

// The keys of the guard process's log lines.
const (
	keyCount  = "count"
	keyErr    = "err"
	keyGrace  = "grace"
	keyReason = "reason"
	keySignal = "signal"
	keySince  = "since"
)

// logger writes the guard's log lines. It takes attributes only, so that every key is one of the constants above.
type logger struct{ log *slog.Logger }

func (l logger) info(msg string, attrs ...slog.Attr)  { l.write(slog.LevelInfo, msg, attrs) }
func (l logger) warn(msg string, attrs ...slog.Attr)  { l.write(slog.LevelWarn, msg, attrs) }
func (l logger) error(msg string, attrs ...slog.Attr) { l.write(slog.LevelError, msg, attrs) }

func (l logger) write(level slog.Level, msg string, attrs []slog.Attr) {
	l.log.LogAttrs(context.Background(), level, msg, attrs...)
}

func errAttr(err error) slog.Attr { return slog.Any(keyErr, err) }
