package cluster

import (
	"context"

	"github.com/hashicorp/raft"

	"scaleout/cluster/bootstrap"
	"scaleout/cluster/gossip"
)

// hasLog reports whether this node has anything of a cluster: entries or a snapshot.
func (n *Node) hasLog() bool { return n.raft.LastIndex() > 0 }

func (n *Node) bootstrapper() (*bootstrap.Bootstrapper, error) {
	return bootstrap.New(bootstrap.Config{
		Dir: n.cfg.Dir, Peers: n.peers, Gossip: n.cfg.Gossip, Logger: n.log,
		ID: n.id, Name: n.cfg.Name, Expect: n.cfg.BootstrapExpect, Election: n.cfg.Timing.Election,
		HasLog: n.hasLog, Begin: n.beginCluster, Join: n.askToJoin, NameOf: n.nameOf, Stopping: n.stopping.Load,
	})
}

// form brings an empty node into a cluster.
func (n *Node) form(ctx context.Context) {
	if n.boot.Run(ctx) {
		n.announce(ctx, func(m *gossip.Meta) { m.HasState = true })
	}
}

// beginCluster writes the first entry of a new cluster's log. Handing it to Raft may block, so that is waited for too.
func (n *Node) beginCluster(ctx context.Context, members raft.Configuration) error {
	handed := make(chan raft.Future, 1)
	n.futures.Go(func() { handed <- n.raft.BootstrapCluster(members) })
	select {
	case future := <-handed:
		return n.await(ctx, future)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
