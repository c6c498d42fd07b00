package master

import (
	"context"

	"scaleout/cluster/leader"
	"scaleout/cluster/routine"
	"scaleout/httpapi/wire"
)

// routines are the leader routines. They are made before what they use, so they ask for it when they run.
func (m *Master) routines() []leader.Routine {
	run := func(name string, f func(ctx context.Context) error) leader.Routine {
		return leader.Routine{Name: name, Run: f}
	}
	return []leader.Routine{
		run("dispatch", func(ctx context.Context) error { return m.dispatch.Run(ctx) }),
		run("queue timeout", func(ctx context.Context) error { return m.dispatch.FailOverdue(ctx) }),
		run("announce", func(ctx context.Context) error { return m.announcer.Run(ctx) }),
		run("disks", func(ctx context.Context) error { return m.announcer.WatchDisks(ctx) }),
		run("messages", func(ctx context.Context) error { return m.packer.Run(ctx) }),
		run("heartbeat", func(ctx context.Context) error {
			return (&routine.Heartbeat{
				Interval: m.cfg.Heartbeat, Proposer: m.node, Masters: m.status.Beats, Contacts: m.dispatch.Contacts, Logger: m.log,
			}).Run(ctx)
		}),
		run("expiry", func(ctx context.Context) error {
			return (&routine.Expiry{Interval: m.cfg.Expiry, Leases: m.dispatch, Proved: m.node.Proved, Logger: m.log}).Run(ctx)
		}),
		run("cleanup", func(ctx context.Context) error {
			return (&routine.Cleanup{
				Interval: m.cfg.Cleanup, Proposer: m.node, State: m.fsm, Now: m.node.Now, NeverEnabled: m.cfg.ExpireNeverEnabled,
				Merge: m.packer.Merge, Logger: m.log,
			}).Run(ctx)
		}),
	}
}

// mayPromote says what a non-voter still lacks besides the log.
func (m *Master) mayPromote(ctx context.Context, id string) error {
	if m.cfg.Promote != nil {
		if err := m.cfg.Promote(ctx, id); err != nil {
			return err
		}
	}
	return m.keeper.Holds(ctx, id)
}

// operator is the cluster as an operator sees it.
type operator struct{ m *Master }

func (a operator) Peers() []string { return a.m.node.Peers() }

func (a operator) Masters() []string {
	var out []string
	for _, p := range a.m.node.Peers() {
		out = append(out, "https://"+p)
	}
	return out
}

func (a operator) Transfer(ctx context.Context, to string) error {
	if to != "" {
		to = a.m.node.MemberID(ctx, to)
	}
	return a.m.node.Transfer(ctx, to)
}

func (a operator) Remove(ctx context.Context, member string, force bool) error {
	return a.m.node.Remove(ctx, a.m.node.MemberID(ctx, member), force)
}

func (a operator) Status(ctx context.Context) (wire.ClusterStatus, error) {
	return a.m.status.Cluster(ctx), nil
}
