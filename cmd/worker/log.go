package worker

import (
	"log/slog"

	"scaleout/cmd/worker/logger"
)

// The keys of the worker process's log lines.
const (
	keyAdopted     = "adopted"
	keyAttempt     = "attempt"
	keyBlob        = "blob"
	keyDetail      = "detail"
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

// ofAttempt returns a logger whose lines name the attempt.
func ofAttempt(log logger.Logger, info taskInfo) logger.Logger {
	return log.With(slog.Int64(keyTaskID, info.TaskID), slog.Int(keyAttempt, info.Attempt),
		slog.Int64(keyExecutionID, info.ExecutionID))
}
