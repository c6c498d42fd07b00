package store

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// hclogger lets the snapshot library write to our log. It chooses no level of its
// own: the handler does.
type hclogger struct {
	log  *slog.Logger
	name string
	args []any
}

func newHclog(l *slog.Logger) hclog.Logger { return &hclogger{log: l, name: "snapshot"} }

func level(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Info:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (h *hclogger) enabled(l hclog.Level) bool {
	return h.log.Enabled(context.Background(), level(l))
}

func (h *hclogger) Log(l hclog.Level, msg string, args ...any) {
	h.log.Log(context.Background(), level(l), h.name+": "+msg, args...)
}
func (h *hclogger) Trace(msg string, args ...any) { h.Log(hclog.Trace, msg, args...) }
func (h *hclogger) Debug(msg string, args ...any) { h.Log(hclog.Debug, msg, args...) }
func (h *hclogger) Info(msg string, args ...any)  { h.Log(hclog.Info, msg, args...) }
func (h *hclogger) Warn(msg string, args ...any)  { h.Log(hclog.Warn, msg, args...) }
func (h *hclogger) Error(msg string, args ...any) { h.Log(hclog.Error, msg, args...) }
func (h *hclogger) IsTrace() bool                 { return h.enabled(hclog.Trace) }
func (h *hclogger) IsDebug() bool                 { return h.enabled(hclog.Debug) }
func (h *hclogger) IsInfo() bool                  { return h.enabled(hclog.Info) }
func (h *hclogger) IsWarn() bool                  { return h.enabled(hclog.Warn) }
func (h *hclogger) IsError() bool                 { return h.enabled(hclog.Error) }
func (h *hclogger) ImpliedArgs() []any            { return h.args }
func (h *hclogger) Name() string                  { return h.name }
func (h *hclogger) SetLevel(hclog.Level)          {}
func (h *hclogger) GetLevel() hclog.Level         { return hclog.NoLevel }

func (h *hclogger) With(args ...any) hclog.Logger {
	return &hclogger{log: h.log.With(args...), name: h.name, args: append(h.args[:len(h.args):len(h.args)], args...)}
}

func (h *hclogger) Named(name string) hclog.Logger { return h.ResetNamed(h.name + "." + name) }

func (h *hclogger) ResetNamed(name string) hclog.Logger {
	return &hclogger{log: h.log, name: name, args: h.args}
}

func (h *hclogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(h.log.Handler(), slog.LevelInfo)
}

func (h *hclogger) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return h.StandardLogger(o).Writer()
}
