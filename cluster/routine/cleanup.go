package routine

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/fsm/sqltype"
)

// keepTasks is how long an ended task stays in the tasks view.
const keepTasks = 60 * time.Minute

// cleanupBatch bounds the rows that one command removes.
const cleanupBatch = 256

// Cleanup removes, every Interval (CleanupCompletedJobsIntervalInMs) and in bounded batches: detail of ended tasks,
// operations past RETENTION_WINDOW, workers that were never enabled and are silent, project versions past
// MAX_PROJECT_VERSIONS; then it merges small message segments.
// Blobs that no row names any more are deleted by each node itself.
type Cleanup struct {
	Interval time.Duration
	Proposer Proposer
	State    interface{ Reader() *catalog.Reader }
	// Now is the earlier of the leader's clock and its stamp, so that a wrong clock does not delete what is young.
	Now func() time.Time
	// NeverEnabled is how long a worker that was never enabled is kept without being heard from.
	NeverEnabled time.Duration
	Merge        func(ctx context.Context) error
	Logger       *slog.Logger
}

// Run cleans until ctx ends.
func (c *Cleanup) Run(ctx context.Context) error {
	every(ctx, c.Interval, func() {
		started := time.Now()
		removed, err := c.round(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			c.Logger.LogAttrs(ctx, slog.LevelWarn, "cleanup not finished; the next round goes on",
				slog.Int64(logkey.Removed, removed), slog.Any(logkey.Err, err))
		case removed > 0:
			c.Logger.LogAttrs(ctx, slog.LevelInfo, "cleanup done", slog.Int64(logkey.Removed, removed),
				slog.Duration(logkey.Took, time.Since(started)))
		}
	})
	return nil
}

func (c *Cleanup) round(ctx context.Context) (removed int64, err error) {
	cmd, err := c.plan()
	if err != nil {
		return 0, err
	}
	for {
		result, err := propose(ctx, c.Proposer, "cleanup", cmd)
		if err != nil {
			return removed, err
		}
		removed += result.Value
		if result.Value < cleanupBatch {
			break
		}
	}
	if c.Merge == nil {
		return removed, nil
	}
	return removed, c.Merge(ctx)
}

// plan turns the catalog's properties into cut-offs.
func (c *Cleanup) plan() (*command.Cleanup, error) {
	reader := c.State.Reader()
	now := c.Now()
	cmd := &command.Cleanup{EndedTasks: command.At(now.Add(-keepTasks)), Limit: cleanupBatch}
	if c.NeverEnabled > 0 {
		cmd.NeverEnabled = command.At(now.Add(-c.NeverEnabled))
	}
	if enabled(reader, "OPERATION_CLEANUP_ENABLED") {
		days, err := readNumber(reader, "RETENTION_WINDOW")
		if err != nil {
			return nil, err
		}
		if days >= 1 { // -1 keeps for ever
			cmd.Operations = command.At(now.AddDate(0, 0, -days))
		}
	}
	if enabled(reader, "VERSION_CLEANUP_ENABLED") {
		n, err := readNumber(reader, "MAX_PROJECT_VERSIONS")
		if err != nil {
			return nil, err
		}
		cmd.MaxVersions = n
	}
	return cmd, nil
}

func enabled(reader *catalog.Reader, property string) bool {
	v, ok := reader.Property(property)
	return ok && sqltype.EqualText(v, "true")
}

func readNumber(reader *catalog.Reader, property string) (int, error) {
	v, _ := reader.Property(property)
	return strconv.Atoi(v)
}
