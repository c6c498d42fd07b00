package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/store"
)

// RoomToLead is how much room a leader's disk must have: some entries of the largest size. After the disk is full,
// small entries still fit into the log's own gaps for a long time, so a master with a full disk would win elections and
// lose the leadership again at the next big entry.
const RoomToLead = 16 << 20

// DiskError returns why the last write to the log failed, or nil if it did not.
func (n *Node) DiskError() error { return n.cfg.Dir.Log().Failing() }

// disk returns the free bytes (-1 if unknown) and the reason why this node must not lead, or "" if its disk is healthy.
func (n *Node) disk() (free int64, trouble string) {
	free = -1
	if bytes, err := n.cfg.Dir.Free(); err == nil {
		free = int64(bytes)
	}
	switch err := n.DiskError(); {
	case err != nil:
		trouble = err.Error()
	case free >= 0 && free < RoomToLead:
		trouble = fmt.Sprintf("%d bytes are free for %s and a leader needs %d; make room", free, n.cfg.Dir.Path(), RoomToLead)
	}
	return free, trouble
}

// betterDisk returns another voter whose disk is healthy, or "" if there is none. Then it makes no difference who
// leads.
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
		n.log.LogAttrs(ctx, slog.LevelError, "this master must not lead with its disk: leadership is handed over",
			slog.String(logkey.Disk, trouble), slog.String(logkey.To, n.nameOf(to)))
		if err := n.Transfer(ctx, to); err != nil && ctx.Err() == nil {
			n.log.LogAttrs(ctx, slog.LevelWarn, "leadership could not be handed over; it will be tried again",
				slog.Any(logkey.Err, err))
		}
	}
	return nil
}

// stableStore wraps the log's stable store so that a failed write stops this node instead of panicking inside Raft.
type stableStore struct {
	*store.Log
	node *Node
}

// roomEvery is how often a full disk is tried again.
const roomEvery = 100 * time.Millisecond

// Set writes a part of a vote.
func (t stableStore) Set(key, value []byte) error {
	return t.retryWhileFull(func() error { return t.Log.Set(key, value) })
}

// SetUint64 writes a term.
func (t stableStore) SetUint64(key []byte, value uint64) error {
	return t.retryWhileFull(func() error { return t.Log.SetUint64(key, value) })
}

// retryWhileFull waits for room on a full disk. Meanwhile this master takes part in no election, and the others elect.
// If the write fails in another way, the node cuts its Raft connections and ends, because no other node may hear of a
// term or a vote that is not on disk.
func (t stableStore) retryWhileFull(write func() error) error {
	logged := false
	for {
		err := write()
		if err == nil {
			return nil
		}
		if !errors.Is(err, command.ErrNoSpace) {
			t.node.cfg.Transport.CutRaft()
			t.node.stopWith(fmt.Errorf("cluster: a term or a vote could not be saved: %w", err))
			return nil
		}
		if !logged {
			logged = true
			t.node.log.LogAttrs(context.Background(), slog.LevelError,
				"this master takes part in no election and stores nothing until its disk has room", slog.Any(logkey.Err, err))
		}
		select {
		case <-t.node.ended:
			t.node.cfg.Transport.CutRaft()
			return nil
		case <-time.After(roomEvery):
		}
	}
}
