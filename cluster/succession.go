package cluster

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/peer"
)

// A leader whose process is killed is missed twice: its connections end at once, and nothing listens at its address any
// more. Raft knows nothing of that and waits for its heartbeats. So when a majority of the voters finds the leader's
// process gone, the best of them is asked to call an election, with the message by which a leader hands over. It is safe
// whatever these findings are worth, since an election is; that a majority must agree keeps one bad link from deposing
// a leader that the others still have. A host that is cut off or without power refuses nothing: then the heartbeats decide.

// successionPause is how often the leader is looked for, and then the others are asked whether they miss it too.
const successionPause = 20 * time.Millisecond

// successionLimit is when that ends: by then the heartbeats have decided, since Raft waits for at most twice their time-out.
func (n *Node) successionLimit() time.Duration { return 2 * n.raft.ReloadableConfig().HeartbeatTimeout }

// bereaved names a leader whose process this node found gone.
type bereaved struct {
	leader raft.ServerID
	term   uint64
}

// leaderGone says whether this node has found the process gone that it still takes for its leader.
func (n *Node) leaderGone() bool {
	b := n.gone.Load()
	_, id := n.raft.LeaderWithID()
	return b != nil && id != "" && *b == bereaved{id, n.raft.CurrentTerm()} && !n.wire.Connected(id)
}

// succession watches for the death of leaders.
func (n *Node) succession(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-n.wire.Ended():
			if _, leader := n.raft.LeaderWithID(); id == leader && n.raft.State() == raft.Follower {
				n.succeed(ctx, bereaved{id, n.raft.CurrentTerm()})
			}
		}
	}
}

func (n *Node) succeed(ctx context.Context, lost bereaved) {
	limit := n.successionLimit()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		_, err := n.peers.Status(ctx, string(lost.leader))
		if refused(err) {
			break
		}
		// It answers, or a connection just being made broke off: it may be on its way out, or come back.
		if _, leader := n.raft.LeaderWithID(); leader != lost.leader || n.wire.Connected(leader) || !pauseFor(ctx, successionPause) {
			return
		}
	}
	n.gone.Store(&lost)
	_, servers := n.configuration()
	if self, ok := findServer(servers, n.id); !ok || self.Suffrage != raft.Voter {
		return
	}
	voters := voterIDs(servers)
	others := slices.DeleteFunc(otherVoters(servers, n.id), func(id string) bool { return id == string(lost.leader) })
	for n.leaderGone() {
		heirs := []peer.Status{n.status()}
		for _, a := range n.peers.Statuses(ctx, others, limit) {
			if a.Err == nil && a.LeaderGone && a.Leader == string(lost.leader) && !a.Stopping {
				heirs = append(heirs, a.Status)
			}
		}
		if len(heirs) > len(voters)/2 {
			n.appoint(heirs)
			return
		}
		if !pauseFor(ctx, successionPause) {
			return
		}
	}
}

// refused says that nothing listens at an address. 10061 is how Windows says it (WSAECONNREFUSED), which Go does not translate.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.Errno(10061))
}

// appoint asks the heir with the longest log, and among equals one whose disk is in order, to call an election. Their logs
// grow no more, so all come to the same order, and it is the second who asks: one does, and nobody has to ask itself.
func (n *Node) appoint(heirs []peer.Status) {
	slices.SortFunc(heirs, func(a, b peer.Status) int {
		return cmp.Or(cmp.Compare(b.LastIndex, a.LastIndex), after(a.Disk != "", b.Disk != ""), cmp.Compare(a.ID, b.ID))
	})
	if len(heirs) < 2 || heirs[1].ID != n.id {
		return
	}
	best := heirs[0]
	if err := n.wire.Appoint(raft.ServerID(best.ID), raft.ServerAddress(best.Address)); err != nil {
		n.log.Info("the next leader could not be asked to call an election; the heartbeats decide", "peer", best.Name, "err", err)
		return
	}
	n.log.Info("the leader's process is gone; another master was asked to call an election", "peer", best.Name, "id", best.ID)
}
