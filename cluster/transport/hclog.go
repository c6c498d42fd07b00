package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// LevelTrace is the slog level of the libraries' trace lines.
const LevelTrace = slog.LevelDebug - 4

// HCLog lets libraries that log through hclog write to logger. The logger's
// handler decides which levels are shown; SetLevel has no effect.
func HCLog(logger *slog.Logger) hclog.Logger {
	if logger == nil {
		logger = slog.Default()
	}
	return &hcLogger{base: logger, log: logger}
}

type hcLogger struct {
	base    *slog.Logger // without name
	log     *slog.Logger
	name    string
	implied []any
}

func (l *hcLogger) Log(level hclog.Level, msg string, args ...any) {
	at := slogLevel(level)
	if level == hclog.Off || !l.log.Enabled(context.Background(), at) {
		return
	}
	l.log.Log(context.Background(), at, msg, plain(args)...)
}

func (l *hcLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *hcLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *hcLogger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *hcLogger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *hcLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *hcLogger) IsTrace() bool { return l.enabled(LevelTrace) }
func (l *hcLogger) IsDebug() bool { return l.enabled(slog.LevelDebug) }
func (l *hcLogger) IsInfo() bool  { return l.enabled(slog.LevelInfo) }
func (l *hcLogger) IsWarn() bool  { return l.enabled(slog.LevelWarn) }
func (l *hcLogger) IsError() bool { return l.enabled(slog.LevelError) }

func (l *hcLogger) enabled(level slog.Level) bool {
	return l.log.Enabled(context.Background(), level)
}

func (l *hcLogger) ImpliedArgs() []any { return l.implied }
func (l *hcLogger) Name() string       { return l.name }

func (l *hcLogger) With(args ...any) hclog.Logger {
	implied := append(append([]any(nil), l.implied...), args...)
	return named(l.base, l.name, implied)
}

func (l *hcLogger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return named(l.base, name, l.implied)
}

func (l *hcLogger) ResetNamed(name string) hclog.Logger { return named(l.base, name, l.implied) }

func named(base *slog.Logger, name string, implied []any) hclog.Logger {
	out := base
	if name != "" {
		out = out.With("component", name)
	}
	return &hcLogger{base: base, log: out.With(plain(implied)...), name: name, implied: implied}
}

func (l *hcLogger) SetLevel(hclog.Level) {}

func (l *hcLogger) GetLevel() hclog.Level {
	for _, level := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn, hclog.Error} {
		if l.enabled(slogLevel(level)) {
			return level
		}
	}
	return hclog.Off
}

func (l *hcLogger) StandardLogger(opts *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(opts), "", 0)
}

func (l *hcLogger) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	w := &lineWriter{log: l, level: hclog.Info}
	if opts != nil {
		w.infer = opts.InferLevels || opts.InferLevelsWithTimestamp
		if opts.ForceLevel != hclog.NoLevel {
			w.level, w.infer = opts.ForceLevel, false
		}
	}
	return w
}

// lineWriter turns lines of the standard library's logger into log entries.
type lineWriter struct {
	log   *hcLogger
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

// tagged splits "[WARN] text".
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
		return LevelTrace
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

// plain resolves hclog's own value types. A key without a value, or one that is
// no string, is kept in a form that slog does not mark as broken.
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
