package cluster

import (
	"context"
	"log/slog"
	"time"

	"scaleout/fsm/logkey"

	"github.com/hashicorp/raft"
)

// fewestVoters is how many voters the removal of dead masters leaves at least. A smaller cluster would tolerate no
// failure, and no operator would have decided that.
const fewestVoters = 3

// deadRoutine removes members from the configuration that have been silent for Config.RemoveDead, one at a time. It is
// off unless an operator asked for it. It does not remove a member that Remove would refuse to remove: only a person
// may decide to give up the majority or data.
func (n *Node) deadRoutine(ctx context.Context) error {
	if n.cfg.RemoveDead <= 0 {
		return nil
	}
	const look = time.Second
	silent := map[raft.ServerID]time.Time{}  // since when, as this routine has seen it
	retryAt := map[raft.ServerID]time.Time{} // for members whose removal was refused
	for seen := time.Now(); pauseFor(ctx, min(look, n.cfg.RemoveDead/4)); seen = time.Now() {
		if time.Since(seen) > 3*look {
			clear(silent) // this process was paused: the others may have answered meanwhile
		}
		_, servers := n.configuration()
		for _, s := range servers {
			if n.heard(s.ID, 10) {
				delete(silent, s.ID)
				delete(retryAt, s.ID)
				continue
			}
			if _, known := silent[s.ID]; !known {
				silent[s.ID] = time.Now()
			}
			since := silent[s.ID]
			if time.Since(since) < n.cfg.RemoveDead || time.Now().Before(retryAt[s.ID]) || s.Suffrage == raft.Voter &&
				len(voterIDs(servers)) <= n.fewest() {
				continue
			}
			if err := n.Remove(ctx, string(s.ID), false); err != nil {
				if _, logged := retryAt[s.ID]; !logged && ctx.Err() == nil {
					n.log.LogAttrs(ctx, slog.LevelWarn, "a dead master is not removed",
						slog.String(logkey.Master, n.nameOf(string(s.ID))), slog.String(logkey.MasterID, string(s.ID)),
						slog.Time(logkey.SilentSince, since), slog.Any(logkey.Err, err))
				}
				retryAt[s.ID] = time.Now().Add(min(n.cfg.RemoveDead, time.Minute))
				continue
			}
			n.log.LogAttrs(ctx, slog.LevelWarn, "a dead master was removed from the cluster, as RemoveDeadMastersAfterInMs says",
				slog.String(logkey.Master, n.nameOf(string(s.ID))), slog.String(logkey.MasterID, string(s.ID)),
				slog.Time(logkey.SilentSince, since))
			delete(silent, s.ID)
			break // the configuration has changed
		}
	}
	return nil
}

// fewest is how many voters deadRoutine leaves at least: three, and a majority of BootstrapExpect.
func (n *Node) fewest() int { return max(fewestVoters, n.cfg.BootstrapExpect/2+1) }
