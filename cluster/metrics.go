package cluster

import (
	"errors"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

// registerMetrics registers this node's metrics. Without a registerer they are counted and not shown.
func (n *Node) registerMetrics(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if !n.up() {
				return 0
			}
			return f()
		})
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	var errs []error
	for _, c := range append(n.metrics.Collectors(),
		gauge("scaleout_raft_term", "Raft's term.", func() float64 { return float64(n.raft.CurrentTerm()) }),
		gauge("scaleout_raft_is_leader", "1 on the master that leads and is ready.", func() float64 {
			_, ready := n.IsLeader()
			return flag(ready)
		}),
		gauge("scaleout_raft_has_leader", "1 where a leader is known.", func() float64 {
			_, id := n.raft.LeaderWithID()
			return flag(id != "")
		}),
		gauge("scaleout_raft_last_index", "Index of the newest entry in the log.",
			func() float64 { return float64(n.raft.LastIndex()) }),
		gauge("scaleout_raft_commit_index", "Index of the newest committed entry.",
			func() float64 { return float64(n.raft.CommitIndex()) }),
		gauge("scaleout_raft_applied_index", "Index of the newest entry in the state.",
			func() float64 { return float64(n.machine.Index()) }),
		gauge("scaleout_raft_log_bytes", "Size of the log's entries.",
			func() float64 { return float64(n.cfg.Dir.Log().Bytes()) }),
		gauge("scaleout_raft_write_seconds", "How long the write to the log in progress has been running.", func() float64 {
			return n.cfg.Dir.Log().Writing().Seconds()
		}),
		gauge("scaleout_raft_uncommitted_seconds",
			"How long an entry has been waiting to be committed, when unusually long; else 0.", func() float64 {
				return n.overdue().Seconds()
			}),
		gauge("scaleout_cluster_voters", "Voters in the configuration.", func() float64 {
			_, ids := n.Voters()
			return float64(len(ids))
		}),
		gauge("scaleout_cluster_failure_tolerance", "Voters that may fail before the cluster stops; known on the leader.",
			func() float64 {
				return float64(n.FailureTolerance())
			}),
	) {
		errs = append(errs, reg.Register(c))
	}
	return errors.Join(errs...)
}

// FailureTolerance returns how many more voters may fail before the cluster stops. The leader counts the voters that
// answer; every other node only knows how many the configuration allows.
func (n *Node) FailureTolerance() int {
	if !n.up() {
		return 0
	}
	_, servers := n.configuration()
	voters := voterIDs(servers)
	if len(voters) == 0 {
		return 0
	}
	alive := len(voters)
	if n.raft.State() == raft.Leader {
		alive = 0
		for _, id := range voters {
			if n.heard(id, 4) {
				alive++
			}
		}
	}
	return max(alive-(len(voters)/2+1), 0)
}
