package worker

import (
	"context"
	"log/slog"
)

// The keys of the worker process's log lines.
const (
	keyAdopted     = "adopted"
	keyAttempt     = "attempt"
	keyBlob        = "blob"
	keyDetail      = "detail"
	keyErr         = "err"
	keyExecutionID = "execution_id"
	keyExitCode    = "exit_code"
	keyExtensions  = "extensions"
	keyFenced      = "fenced"
	keyMessages    = "attempts_with_messages"
	keyOS          = "os"
	keyOutcome     = "outcome"
	keyPackage     = "package"
	keyPassed      = "passed"
	keyPath        = "path"
	keyPID         = "pid"
	keyReports     = "reports"
	keyRunner      = "runner"
	keyRunning     = "running"
	keyTaskID      = "task_id"
	keyWorker      = "worker"
)

// logger writes the worker's log lines. It takes attributes only, so that every key is one of the constants above.
type logger struct{ log *slog.Logger }

func (l logger) info(msg string, attrs ...slog.Attr)  { l.write(slog.LevelInfo, msg, attrs) }
func (l logger) warn(msg string, attrs ...slog.Attr)  { l.write(slog.LevelWarn, msg, attrs) }
func (l logger) error(msg string, attrs ...slog.Attr) { l.write(slog.LevelError, msg, attrs) }

func (l logger) write(level slog.Level, msg string, attrs []slog.Attr) {
	l.log.LogAttrs(context.Background(), level, msg, attrs...)
}

// with returns a logger whose lines also have these attributes.
func (l logger) with(attrs ...slog.Attr) logger {
	return logger{slog.New(l.log.Handler().WithAttrs(attrs))}
}

// ofAttempt returns a logger whose lines name the attempt.
func (l logger) ofAttempt(info taskInfo) logger {
	return l.with(slog.Int64(keyTaskID, info.TaskID), slog.Int(keyAttempt, info.Attempt),
		slog.Int64(keyExecutionID, info.ExecutionID))
}

func errAttr(err error) slog.Attr { return slog.Any(keyErr, err) }
