package worker

import (
	"log/slog"

	"scaleout/cmd/worker/logger"
	"scaleout/fsm/logkey"
)

// ofAttempt returns a logger whose lines name the attempt.
func ofAttempt(log logger.Logger, info taskInfo) logger.Logger {
	return log.With(slog.Int64(logkey.TaskID, info.TaskID), slog.Int(logkey.Attempt, info.Attempt),
		slog.Int64(logkey.ExecutionID, info.ExecutionID))
}
