package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

const levelEvery = 10 * time.Second

// levelRoutine raises the cluster's feature level when every member of the latest configuration has said twice, ten
// seconds apart, that it knows the level. One answer is not enough: a member may just be going back to an older
// version.
func (n *Node) levelRoutine(ctx context.Context) error {
	var agreed int
	var under uint64
	for {
		level, number := n.commonLevel(ctx)
		switch have := n.machine.Reader().Level(); {
		case level <= have:
			agreed = 0
		case level == agreed && number == under:
			if err := n.raiseLevel(ctx, level); err != nil && ctx.Err() == nil {
				n.log.LogAttrs(ctx, slog.LevelWarn, "the feature level could not be raised", slog.Int(logkey.FeatureLevel, level),
					slog.Any(logkey.Err, err))
			}
			agreed = 0
		default:
			agreed, under = level, number
		}
		if !pauseFor(ctx, n.levelEvery) {
			return nil
		}
	}
}

// commonLevel returns the highest level that every member knows, 0 if one of them does not answer, and the number of
// the configuration that was asked.
func (n *Node) commonLevel(ctx context.Context) (level int, number uint64) {
	number, servers := n.configuration()
	level = n.cfg.Level
	for _, a := range n.peers.Statuses(ctx, others(servers, n.id), time.Second) {
		if a.Err != nil {
			return 0, number
		}
		level = min(level, a.Level)
	}
	return level, number
}

func (n *Node) raiseLevel(ctx context.Context, level int) error {
	r := n.leadership.Load()
	if r == nil {
		return command.ErrNotLeader
	}
	res, _, err := r.proposer.ProposeOwn(ctx, &command.RaiseLevel{Level: level})
	if err != nil {
		return err
	}
	if res.Rejection != nil {
		return fmt.Errorf("raise the level: %w", errors.New(res.Rejection.Error()))
	}
	n.log.LogAttrs(ctx, slog.LevelInfo,
		"the cluster's feature level rises: versions that do not know it cannot join any more",
		slog.Int(logkey.FeatureLevel, level))
	return nil
}
