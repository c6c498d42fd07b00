package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// fewestVoters is what removing dead masters leaves at least: a smaller cluster would tolerate no failure, and nobody
// would have decided so.
const fewestVoters = 3

// deadRoutine takes members out of the configuration that have been silent for Config.RemoveDead, one at a time. It is off
// unless an operator asked for it, and leaves alone whom Remove would refuse to remove: a removal that costs the
// majority or data is a person's to decide.
func (n *Node) deadRoutine(ctx context.Context) error {
	if n.cfg.RemoveDead <= 0 {
		return nil
	}
	const look = time.Second
	silent := map[raft.ServerID]time.Time{} // since when, as this routine has seen it
	again := map[raft.ServerID]time.Time{}  // when to try one anew whose removal was refused
	for seen := time.Now(); pauseFor(ctx, min(look, n.cfg.RemoveDead/4)); seen = time.Now() {
		if time.Since(seen) > 3*look {
			clear(silent) // this process stood still: the others may have answered meanwhile
		}
		_, servers := n.configuration()
		for _, s := range servers {
			if n.heard(s.ID, 10) {
				delete(silent, s.ID)
				delete(again, s.ID)
				continue
			}
			if _, known := silent[s.ID]; !known {
				silent[s.ID] = time.Now()
			}
			since := silent[s.ID]
			if time.Since(since) < n.cfg.RemoveDead || time.Now().Before(again[s.ID]) || s.Suffrage == raft.Voter && len(voterIDs(servers)) <= n.fewest() {
				continue
			}
			if err := n.Remove(ctx, string(s.ID), false); err != nil {
				if _, told := again[s.ID]; !told && ctx.Err() == nil {
					n.log.Warn("a dead master is not removed", "peer", n.nameOf(string(s.ID)), "id", string(s.ID), "silent_since", since, "err", err)
				}
				again[s.ID] = time.Now().Add(min(n.cfg.RemoveDead, time.Minute))
				continue
			}
			n.log.Warn("a dead master was removed from the cluster, as RemoveDeadMastersAfterInMs says", "peer", n.nameOf(string(s.ID)),
				"id", string(s.ID), "silent_since", since)
			delete(silent, s.ID)
			break // the configuration is another one now
		}
	}
	return nil
}

// fewest is how many voters deadRoutine leaves: three, and a majority of those with which the cluster was meant to begin.
func (n *Node) fewest() int { return max(fewestVoters, n.cfg.BootstrapExpect/2+1) }
