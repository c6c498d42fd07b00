package store

import (
	"context"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// hclogger lets the snapshot library write to our log. It overrides what that library calls; the rest of the
// large interface comes from the library's own silent logger.
type hclogger struct {
	hclog.Logger
	log *slog.Logger
}

func newHclog(l *slog.Logger) hclog.Logger { return hclogger{hclog.NewNullLogger(), l} }

func (h hclogger) write(level slog.Level, msg string, args []any) {
	h.log.Log(context.Background(), level, "snapshots: "+msg, args...)
}

func (h hclogger) Trace(msg string, args ...any) { h.write(slog.LevelDebug, msg, args) }
func (h hclogger) Debug(msg string, args ...any) { h.write(slog.LevelDebug, msg, args) }
func (h hclogger) Info(msg string, args ...any)  { h.write(slog.LevelInfo, msg, args) }
func (h hclogger) Warn(msg string, args ...any)  { h.write(slog.LevelWarn, msg, args) }
func (h hclogger) Error(msg string, args ...any) { h.write(slog.LevelError, msg, args) }
