// Package logger writes the log lines of the worker and of its guards. It takes attributes only, so that every key is
// one of the constants that a process declares.
package logger

import (
	"context"
	"log/slog"
	"time"

	"scaleout/fsm/logkey"
)

// Logger writes log lines. New makes one.
type Logger struct{ log *slog.Logger }

// New returns a logger that writes to log.
func New(log *slog.Logger) Logger { return Logger{log} }

// Info writes what is as it should be.
func (l Logger) Info(msg string, attrs ...slog.Attr) { l.write(slog.LevelInfo, msg, attrs) }

// Warn writes what somebody should look at.
func (l Logger) Warn(msg string, attrs ...slog.Attr) { l.write(slog.LevelWarn, msg, attrs) }

// Error writes what went wrong.
func (l Logger) Error(msg string, attrs ...slog.Attr) { l.write(slog.LevelError, msg, attrs) }

func (l Logger) write(level slog.Level, msg string, attrs []slog.Attr) {
	ctx := context.Background()
	if !l.log.Enabled(ctx, level) {
		return
	}
	r := slog.NewRecord(time.Now(), level, msg, 0)
	r.AddAttrs(attrs...)
	_ = l.log.Handler().Handle(ctx, r) // slog's own methods drop this error too
}

// With returns a logger whose lines also have these attributes.
func (l Logger) With(attrs ...slog.Attr) Logger {
	return Logger{slog.New(l.log.Handler().WithAttrs(attrs))}
}

// Err is the attribute of an error.
func Err(err error) slog.Attr { return slog.Any(logkey.Err, err) }
