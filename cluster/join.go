package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/gossip"
	"scaleout/cluster/peer"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/fsm/sqltype"
)

// joinRequest is how a master asks to be taken in, or reports its new address.
type joinRequest struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Address  string `json:"address"`
	Cluster  string `json:"cluster"`
	Version  string `json:"version"`
	Level    int    `json:"level"`
	HasState bool   `json:"has_state"`
	// Promised: it is one of those who began the cluster and has had no entry yet, so nothing of it was lost.
	Promised bool `json:"promised,omitempty"`
}

func (n *Node) joinRequest() joinRequest {
	return joinRequest{
		ID: n.id, Name: n.cfg.Name, Address: n.cfg.AdvertiseAddress, Cluster: n.cfg.ClusterID,
		Version: n.cfg.Version, Level: n.cfg.Level, HasState: n.hasLog(),
		Promised: n.boot.Promised(),
	}
}

// askToJoin asks the master via, or the leader that it names, to take this node in.
func (n *Node) askToJoin(ctx context.Context, via string) error {
	for range 2 { // via may name the leader; the leader itself must not name another one
		limit, cancel := context.WithTimeout(ctx, changeTimeout+2*time.Second)
		err := n.peers.Call(limit, via, "/peer/join", nil, n.joinRequest(), nil)
		cancel()
		p, refused := peer.Refusal(err)
		if refused && p.Code == peer.CodeNotLeader && p.Leader != "" && p.Leader != via {
			via = p.Leader
			continue
		}
		return err
	}
	return command.ErrNoLeader
}

// takeIn is the leader's side of a join.
func (n *Node) takeIn(ctx context.Context, j joinRequest) error {
	r, err := n.readyLeadership()
	if err != nil {
		return err
	}
	if err := n.mayJoin(j); err != nil {
		return err
	}
	if err := r.prover.Wait(ctx, time.Now()); err != nil {
		return err
	}
	id, address := raft.ServerID(j.ID), raft.ServerAddress(j.Address)
	_, servers := n.configuration()
	if known, ok := findServer(servers, j.ID); ok {
		if !j.HasState && !j.Promised && known.Suffrage == raft.Voter {
			return fmt.Errorf("%w: master %s (%s) is a member, but its log is empty: its data was lost. "+
				"Empty its data directory completely, so that it gets a new id, and remove the old one: scaleout cluster remove %s",
				command.ErrRefused, j.Name, j.ID, j.ID)
		}
		if known.Address == address {
			return nil
		}
		return n.readdress(ctx, known, j.Address)
	}
	if j.HasState {
		return fmt.Errorf("%w: master %s (%s) has a log but is not a member: it was removed. Start it with an empty data "+
			"directory to add it again", peer.ErrRemoved, j.Name, j.ID)
	}
	if err := n.freeAddress(ctx, servers, j); err != nil {
		return err
	}
	if err := n.change(ctx, func() raft.IndexFuture {
		return n.raft.AddNonvoter(id, address, 0,
			changeTimeout)
	}); err != nil {
		return err
	}
	n.log.LogAttrs(ctx, slog.LevelInfo, "a new master joins; it becomes a voter when it has caught up",
		slog.String(logkey.Master, j.Name), slog.String(logkey.MasterID, j.ID), slog.String(logkey.Address, j.Address))
	return nil
}

// freeAddress makes room at the address of a new master, because Raft refuses two members at one address.
func (n *Node) freeAddress(ctx context.Context, servers []raft.Server, j joinRequest) error {
	for _, s := range servers {
		if string(s.Address) != j.Address {
			continue
		}
		if now, ok := n.cfg.Gossip.Address(string(s.ID)); ok && now != j.Address {
			if err := n.readdress(ctx, s, now); err != nil { // the old member has moved
				return err
			}
			continue
		}
		// A machine that was set up anew comes back under a new id, and its old member cannot come back.
		if string(s.ID) == n.id {
			return fmt.Errorf("%w: %s is the address of this master, %s", command.ErrRefused, j.Address, n.cfg.Name)
		}
		if n.heard(s.ID, 4) {
			return fmt.Errorf("%w: %s is the address of %s, which answers",
				command.ErrRefused, j.Address, n.nameOf(string(s.ID)))
		}
		if err := n.remove(ctx, string(s.ID), false, true); err != nil {
			return fmt.Errorf("replace the member at %s, whose data is gone: %w", j.Address, err)
		}
	}
	return nil
}

// readdress writes a member's present address to the configuration.
func (n *Node) readdress(ctx context.Context, s raft.Server, address string) error {
	add := n.raft.AddNonvoter
	if s.Suffrage == raft.Voter {
		add = n.raft.AddVoter
	}
	if err := n.change(ctx, func() raft.IndexFuture {
		return add(s.ID, raft.ServerAddress(address), 0, changeTimeout)
	}); err != nil {
		return err
	}
	n.log.LogAttrs(ctx, slog.LevelInfo, "a master has a new address", slog.String(logkey.Master, n.nameOf(string(s.ID))),
		slog.String(logkey.MasterID, string(s.ID)), slog.String(logkey.Address, address),
		slog.String(logkey.Was, string(s.Address)))
	return nil
}

// mayJoin checks what the master that wants to join says about itself.
func (n *Node) mayJoin(j joinRequest) error {
	if j.ID == "" || j.Name == "" {
		return errors.New("a join needs id and name")
	}
	if _, _, err := net.SplitHostPort(j.Address); err != nil {
		return fmt.Errorf("join with address %q: want \"host:port\"", j.Address)
	}
	if j.Cluster != n.cfg.ClusterID {
		return fmt.Errorf("%w: %s belongs to cluster %s, this is %s",
			command.ErrRefused, j.Name, j.Cluster, n.cfg.ClusterID)
	}
	if level := n.machine.Reader().Level(); j.Level < level {
		return fmt.Errorf("%w: %s runs version %s, which knows levels up to %d; the cluster is at %d: install a newer "+
			"version there",
			command.ErrLevel, j.Name, j.Version, j.Level, level)
	}
	if m, taken := nameTaken(n.cfg.Gossip.Members(), j); taken {
		return fmt.Errorf("%w: the name %q is taken by the master at %s; give this one another NodeName",
			command.ErrRefused, j.Name, m.Address)
	}
	return nil
}

// nameTaken finds another master of the same name: calls that name a master by it would mean either.
func nameTaken(members []gossip.Member, j joinRequest) (gossip.Member, bool) {
	for _, m := range members {
		if sqltype.EqualText(m.Name, j.Name) && m.ID != j.ID {
			return m, true
		}
	}
	return gossip.Member{}, false
}
