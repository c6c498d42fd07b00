package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/command"
	"scaleout/store"
)

// roomToLead is what a leader's disk must still take: some entries of the largest size. Small entries fit into the
// log's own gaps for long after the disk is full, so a full master would win elections and lose each at the next big one.
const roomToLead = 16 << 20

// DiskError is why the last write to the log failed; nil when it did not.
func (n *Node) DiskError() error { return n.cfg.Dir.Log().Failing() }

// disk is how many bytes are free, -1 when that is unknown, and why this master's disk is none to lead with; "" when it is.
func (n *Node) disk() (free int64, trouble string) {
	free = -1
	if bytes, err := n.cfg.Dir.Free(); err == nil {
		free = int64(bytes)
	}
	switch err := n.DiskError(); {
	case err != nil:
		trouble = err.Error()
	case free >= 0 && free < roomToLead:
		trouble = fmt.Sprintf("%d bytes are free for %s and a leader needs %d; make room", free, n.cfg.Dir.Path(), roomToLead)
	}
	return free, trouble
}

// betterDisk is a voter whose disk is in order; "" when no other one has such a disk. Then it makes no difference who leads.
func (n *Node) betterDisk(ctx context.Context) string {
	_, servers := n.configuration()
	for id, a := range n.peers.Statuses(ctx, otherVoters(servers, n.id), n.cfg.Timing.Election) {
		if a.Err == nil && a.Disk == "" && !a.Stopping {
			return id
		}
	}
	return ""
}

func otherVoters(servers []raft.Server, self string) []string {
	var ids []string
	for _, id := range voterIDs(servers) {
		if string(id) != self {
			ids = append(ids, string(id))
		}
	}
	return ids
}

// diskRoutine hands leadership over before the disk is so full that calls fail.
func (n *Node) diskRoutine(ctx context.Context) error {
	for pauseFor(ctx, time.Second) {
		_, trouble := n.disk()
		if trouble == "" {
			continue
		}
		to := n.betterDisk(ctx)
		if to == "" {
			continue
		}
		n.log.Error("this master's disk is none to lead with: leadership is handed over", "disk", trouble, "to", n.nameOf(to))
		if err := n.Transfer(ctx, to); err != nil && ctx.Err() == nil {
			n.log.Warn("leadership could not be handed over; it will be tried again", "err", err)
		}
	}
	return nil
}

// terms is the log's stable store as Raft bears it. Raft panics when it cannot save its term.
type terms struct {
	*store.Log
	n *Node
}

// roomEvery is how often a full disk is tried again.
const roomEvery = 100 * time.Millisecond

// Set keeps a part of a vote.
func (t terms) Set(key, value []byte) error {
	return t.keep(func() error { return t.Log.Set(key, value) })
}

// SetUint64 keeps a term.
func (t terms) SetUint64(key []byte, value uint64) error {
	return t.keep(func() error { return t.Log.SetUint64(key, value) })
}

// keep waits for room on a full disk: meanwhile this master takes part in nothing, and the others elect. When there is
// no hope, nobody may hear of a term or a vote that is not on disk: the node is cut off and ends.
func (t terms) keep(write func() error) error {
	told := false
	for {
		err := write()
		if err == nil {
			return nil
		}
		if !errors.Is(err, command.ErrNoSpace) {
			t.n.cfg.Transport.CutRaft()
			t.n.stopWith(fmt.Errorf("cluster: a term or a vote could not be saved: %w", err))
			return nil
		}
		if !told {
			told = true
			t.n.log.Error("this master takes part in no election and stores nothing until its disk has room", "err", err)
		}
		select {
		case <-t.n.ended:
			t.n.cfg.Transport.CutRaft()
			return nil
		case <-time.After(roomEvery):
		}
	}
}
