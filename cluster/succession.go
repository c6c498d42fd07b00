package cluster

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/peer"
	"scaleout/fsm/logkey"
)

// When a leader's process is killed, its connections end at once and nothing listens at its address any more. Raft
// knows nothing of that and waits for missing heartbeats. So when a majority of the voters has found the leader's
// process gone, the best of them is asked to call an election, by the message with which a leader hands over. This is
// safe even if the findings are wrong, because an election is safe. A majority must agree, so that one bad link does
// not depose a leader that the others still have. A host that is partitioned or without power refuses no connection:
// then the heartbeats decide.

// successionPause is the time between two attempts to reach the leader, and later between two rounds in which the other
// voters are asked whether they have found it gone too.
const successionPause = 20 * time.Millisecond

// successionLimit bounds that: by then the heartbeats have decided, because Raft waits for at most twice their
// time-out.
func (n *Node) successionLimit() time.Duration { return 2 * n.raft.ReloadableConfig().HeartbeatTimeout }

// leaderless names a leader whose process this node found gone.
type leaderless struct {
	leader raft.ServerID
	term   uint64
}

// leaderGone reports whether this node has found the process of the leader gone that Raft still believes in.
func (n *Node) leaderGone() bool {
	b := n.leaderless.Load()
	_, id := n.raft.LeaderWithID()
	return b != nil && id != "" && *b == leaderless{id, n.raft.CurrentTerm()} && !n.wire.Connected(id)
}

// succession watches for connections of the leader that end.
func (n *Node) succession(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-n.wire.Ended():
			if _, leader := n.raft.LeaderWithID(); id == leader && n.raft.State() == raft.Follower {
				n.replaceLeader(ctx, leaderless{id, n.raft.CurrentTerm()})
			}
		}
	}
}

// replaceLeader makes sure that the leader's process is gone, waits until a majority of the voters has found that too,
// and then has one of them call an election. replaceLeader makes sure that the leader's process is gone, waits until a
// majority of the voters has found that too, and then has one of them call an election.
func (n *Node) replaceLeader(ctx context.Context, lost leaderless) {
	limit := n.successionLimit()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		_, err := n.peers.Status(ctx, string(lost.leader))
		if connectionRefused(err) {
			break
		}
		// It answers, or a connection broke off while it was being made: the process may be ending, or starting again.
		if _, leader := n.raft.LeaderWithID(); leader != lost.leader || n.wire.Connected(leader) ||
			!pauseFor(ctx, successionPause) {
			return
		}
	}
	n.leaderless.Store(&lost)
	_, servers := n.configuration()
	if self, ok := findServer(servers, n.id); !ok || self.Suffrage != raft.Voter {
		return
	}
	voters := voterIDs(servers)
	others := slices.DeleteFunc(otherVoters(servers, n.id), func(id string) bool { return id == string(lost.leader) })
	for n.leaderGone() {
		candidates := []peer.Status{n.status()}
		for _, a := range n.peers.Statuses(ctx, others, limit) {
			if a.Err == nil && a.LeaderGone && a.Leader == string(lost.leader) && !a.Stopping {
				candidates = append(candidates, a.Status)
			}
		}
		if len(candidates) > len(voters)/2 {
			n.pickSuccessor(ctx, candidates)
			return
		}
		if !pauseFor(ctx, successionPause) {
			return
		}
	}
}

// connectionRefused reports whether err says that nothing listens at an address. Windows says it with 10061
// (WSAECONNREFUSED), which Go does not translate.
func connectionRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.Errno(10061))
}

// pickSuccessor asks the candidate with the longest log, and among equals one with a healthy disk, to call an election.
// No log grows while there is no leader, so every survivor computes the same order. The runner-up sends the request, so
// exactly one node sends it and no node has to ask itself.
func (n *Node) pickSuccessor(ctx context.Context, candidates []peer.Status) {
	slices.SortFunc(candidates, func(a, b peer.Status) int {
		return cmp.Or(cmp.Compare(b.LastIndex, a.LastIndex), falseFirst(a.Disk != "", b.Disk != ""), cmp.Compare(a.ID, b.ID))
	})
	if len(candidates) < 2 || candidates[1].ID != n.id {
		return
	}
	best := candidates[0]
	if err := n.wire.RequestElection(raft.ServerID(best.ID), raft.ServerAddress(best.Address)); err != nil {
		n.log.LogAttrs(ctx, slog.LevelInfo,
			"the next leader could not be asked to call an election; the heartbeats decide",
			slog.String(logkey.Master, best.Name), slog.Any(logkey.Err, err))
		return
	}
	n.log.LogAttrs(ctx, slog.LevelInfo,
		"the leader's process is gone; another master was asked to call an election", slog.String(logkey.Master, best.Name),
		slog.String(logkey.MasterID, best.ID))
}
