// Package hclog lets libraries that log through HashiCorp's hclog write to log/slog: Raft and its transport.
//
// Values that hclog formats lazily are resolved, a logger's name becomes the attribute logkey.Component, and the slog
// handler alone decides which levels are shown.
package hclog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"scaleout/fsm/logkey"
)

// levelTrace is the slog level of the libraries' trace lines.
const levelTrace = slog.LevelDebug - 4

// New returns an hclog logger that writes to out, or to slog.Default() if out is nil. Its SetLevel has no effect.
func New(out *slog.Logger) hclog.Logger {
	if out == nil {
		out = slog.Default()
	}
	return &logger{base: out, log: out}
}

type logger struct {
	base    *slog.Logger // as it was given
	log     *slog.Logger // base with the name and the implied arguments
	name    string
	implied []any
}

func (l *logger) Log(level hclog.Level, msg string, args ...any) {
	at := slogLevel(level)
	if level == hclog.Off || !l.log.Enabled(context.Background(), at) {
		return
	}
	r := slog.NewRecord(time.Now(), at, msg, 0) // as the library says it: neither its words nor its keys are ours
	r.Add(plain(args)...)
	_ = l.log.Handler().Handle(context.Background(), r) // slog's own methods drop this error too
}

func (l *logger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *logger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *logger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *logger) IsTrace() bool { return l.enabled(levelTrace) }
func (l *logger) IsDebug() bool { return l.enabled(slog.LevelDebug) }
func (l *logger) IsInfo() bool  { return l.enabled(slog.LevelInfo) }
func (l *logger) IsWarn() bool  { return l.enabled(slog.LevelWarn) }
func (l *logger) IsError() bool { return l.enabled(slog.LevelError) }

func (l *logger) enabled(level slog.Level) bool {
	return l.log.Enabled(context.Background(), level)
}

func (l *logger) ImpliedArgs() []any { return l.implied }
func (l *logger) Name() string       { return l.name }

func (l *logger) With(args ...any) hclog.Logger {
	implied := append(append([]any(nil), l.implied...), args...)
	return named(l.base, l.name, implied)
}

func (l *logger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return named(l.base, name, l.implied)
}

func (l *logger) ResetNamed(name string) hclog.Logger { return named(l.base, name, l.implied) }

func named(base *slog.Logger, name string, implied []any) hclog.Logger {
	out := base
	if name != "" {
		out = out.With(slog.String(logkey.Component, name))
	}
	return &logger{base: base, log: out.With(plain(implied)...), name: name, implied: implied}
}

func (l *logger) SetLevel(hclog.Level) {}

func (l *logger) GetLevel() hclog.Level {
	for _, level := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn, hclog.Error} {
		if l.enabled(slogLevel(level)) {
			return level
		}
	}
	return hclog.Off
}

func (l *logger) StandardLogger(opts *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(opts), "", 0)
}

func (l *logger) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	w := &lineWriter{log: l, level: hclog.Info}
	if opts != nil {
		w.infer = opts.InferLevels || opts.InferLevelsWithTimestamp
		if opts.ForceLevel != hclog.NoLevel {
			w.level, w.infer = opts.ForceLevel, false
		}
	}
	return w
}

// lineWriter logs each line that the standard library's logger writes.
type lineWriter struct {
	log   *logger
	level hclog.Level
	infer bool
}

func (w *lineWriter) Write(p []byte) (int, error) {
	line, level := string(bytes.TrimRight(p, "\r\n")), w.level
	if w.infer {
		if found, text, ok := tagged(line); ok {
			level, line = found, text
		}
	}
	w.log.Log(level, line)
	return len(p), nil
}

// tagged splits a line such as "[WARN] text" into its level and the rest; ok is false if no level is known by that tag.
func tagged(line string) (level hclog.Level, text string, ok bool) {
	rest, ok := strings.CutPrefix(line, "[")
	if !ok {
		return 0, "", false
	}
	tag, text, ok := strings.Cut(rest, "]")
	if !ok {
		return 0, "", false
	}
	if strings.EqualFold(tag, "err") {
		tag = "error"
	}
	level = hclog.LevelFromString(tag)
	return level, strings.TrimSpace(text), level != hclog.NoLevel
}

func slogLevel(level hclog.Level) slog.Level {
	switch level {
	case hclog.Trace:
		return levelTrace
	case hclog.Debug:
		return slog.LevelDebug
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// plain resolves hclog's own value types. A key that is no string is printed into one, and a last key without a value
// becomes the value of "extra": slog would mark both as broken.
func plain(args []any) []any {
	out := make([]any, 0, len(args)+1)
	for i := 0; i < len(args); i += 2 {
		key, ok := args[i].(string)
		if !ok {
			key = fmt.Sprint(args[i])
		}
		if i+1 == len(args) {
			return append(out, "extra", key)
		}
		out = append(out, key, plainValue(args[i+1]))
	}
	return out
}

func plainValue(v any) any {
	switch v := v.(type) {
	case hclog.Format:
		if len(v) == 0 {
			return ""
		}
		format, ok := v[0].(string)
		if !ok {
			return fmt.Sprint(v...)
		}
		return fmt.Sprintf(format, v[1:]...)
	case hclog.Hex:
		return fmt.Sprintf("0x%x", int(v))
	case hclog.Octal:
		return fmt.Sprintf("0%o", int(v))
	case hclog.Binary:
		return fmt.Sprintf("0b%b", int(v))
	case hclog.Quote:
		return string(v)
	case hclog.CapturedStacktrace:
		return string(v)
	default:
		return v
	}
}
