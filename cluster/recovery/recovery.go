package recovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm"
	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/store"
	"scaleout/store/hclog"
)

// Remains is what the data directory of one stopped master holds of its cluster.
type Remains struct {
	ID        string
	Cluster   string
	Self      Member
	Members   []Member  // of the configuration as this master knows it, itself included
	LastIndex uint64    // of its log
	Time      time.Time // of the newest command in it
	Hash      string    // of the state, as masters compare it
	State     *catalog.Reader
	// Missing are blobs that the state names and this master does not hold.
	Missing []string
}

// Member is one master of the configuration that the log of a stopped master ends with.
type Member struct {
	ID      string
	Name    string // "" if the state does not know it
	Address string // "host:port", as the configuration has it
	Voter   bool
}

// Inspect reads the data directory of a stopped master, its log applied to the end: also entries of which this master
// never learned whether a majority had them. It changes nothing.
func Inspect(path string, log *slog.Logger) (Remains, error) {
	dir, err := openStopped(path, log)
	if err != nil {
		return Remains{}, err
	}
	r, err := inspect(dir, log)
	return r, errors.Join(err, dir.Close())
}

func openStopped(path string, log *slog.Logger) (*store.Dir, error) {
	return store.Open(path, store.Options{Logger: log, CheckSnapshot: fsm.CheckHeader})
}

func inspect(dir *store.Dir, log *slog.Logger) (r Remains, err error) {
	if dir.New() {
		return r, fmt.Errorf("%s holds nothing of a cluster; this is for the data directory of a master that was a member",
			dir.Path())
	}
	machine := fsm.New(fsm.Config{Logger: log})
	members, last, err := rebuild(dir, machine)
	if err != nil {
		return r, fmt.Errorf("read %s: %w", dir.Path(), err)
	}
	r.LastIndex = last
	if _, r.Hash, err = machine.Hash(context.Background()); err != nil {
		return r, fmt.Errorf("read %s: %w", dir.Path(), err)
	}
	r.ID, r.State = dir.ID(), machine.Reader()
	r.Cluster, r.Time = r.State.ClusterID(), r.State.Time().Time()
	for _, s := range members.Servers {
		m := Member{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter}
		if row, ok := r.State.Master(m.ID); ok {
			m.Name = row.Name
		}
		if m.ID == r.ID {
			r.Self = m
		}
		r.Members = append(r.Members, m)
	}
	for digest := range r.State.Blobs() {
		if !dir.Blobs().Has(digest) {
			r.Missing = append(r.Missing, digest)
		}
	}
	return r, nil
}

func offline(dir *store.Dir, log *slog.Logger) (*raft.Config, raft.Transport) {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(dir.ID())
	conf.Logger = hclog.New(log).Named("raft")
	conf.NoLegacyTelemetry = true
	_, trans := raft.NewInmemTransport("") // only its encoding of addresses is used
	return conf, trans
}

// rebuild restores the newest snapshot that can be restored and applies every entry of the log behind it, up to the
// last. It returns the configuration after that entry. A hole between the two is an error.
func rebuild(dir *store.Dir, machine *fsm.FSM) (members raft.Configuration, last uint64, err error) {
	from, err := restoreNewest(dir, machine)
	if err != nil {
		return members, 0, err
	}
	members, last = from.Configuration, from.Index
	end, err := dir.Log().LastIndex()
	if err != nil {
		return members, 0, err
	}
	for index := last + 1; index <= end; index++ {
		var entry raft.Log
		if err := dir.Log().GetLog(index, &entry); err != nil {
			return members, 0, fmt.Errorf("log entry %d, which follows the state of entry %d: %w", index, last, err)
		}
		if entry.Type == raft.LogConfiguration {
			members = raft.DecodeConfiguration(entry.Data)
		}
		if err := guarded(machine, func() error { machine.Apply(&entry); return nil }); err != nil {
			return members, 0, err
		}
		last = index
	}
	return members, last, nil
}

// restoreNewest tries the snapshots in Raft's order, the newest first. Without any it returns the beginning of the log.
func restoreNewest(dir *store.Dir, machine *fsm.FSM) (raft.SnapshotMeta, error) {
	list, err := dir.Snapshots().List()
	if err != nil || len(list) == 0 {
		return raft.SnapshotMeta{}, err
	}
	var refused []error
	for _, s := range list {
		meta, content, err := dir.Snapshots().Open(s.ID)
		if err == nil {
			if err = machine.Restore(content); err == nil {
				return *meta, nil
			}
		}
		refused = append(refused, fmt.Errorf("snapshot %s: %w", s.ID, err))
	}
	return raft.SnapshotMeta{}, errors.Join(refused...)
}

var errStateMachine = errors.New("the state machine has failed")

// guarded runs f on a goroutine of its own: a state machine that cannot go on ends the goroutine that called it.
func guarded(machine *fsm.FSM, f func() error) error {
	machine.Stop()
	done := make(chan error, 1)
	go func() {
		var err error
		ended := false
		defer func() {
			if !ended {
				err = errors.Join(errStateMachine, machine.Err())
			}
			done <- err
		}()
		err = f()
		ended = true
	}()
	return <-done
}

// Recover makes a stopped master the only member of its cluster, which goes on from what this master has. It is for a
// cluster whose other masters are lost for good, and must never be started again with their old data: they could agree
// on things without this one. The data directory is copied to copyTo first.
func Recover(path, copyTo string, log *slog.Logger) (r Remains, err error) {
	if log == nil {
		log = slog.Default()
	}
	if err := store.CopyDir(path, copyTo); err != nil {
		return r, err
	}
	dir, err := openStopped(path, log)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if r, err = inspect(dir, log); err != nil {
		return r, err
	}
	if level := r.State.Level(); level > command.Level {
		return r, fmt.Errorf("%w: the state is at level %d, this program knows levels up to %d",
			command.ErrLevel, level, command.Level)
	}
	if r.Self.ID == "" {
		return r, fmt.Errorf("%w: this master was no member of the last configuration that it knows "+
			"(it was removed, or never taken in); recover another one", command.ErrUnknownMember)
	}
	machine := fsm.New(fsm.Config{Logger: log})
	conf, trans := offline(dir, log)
	alone := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(r.ID),
		Address: raft.ServerAddress(r.Self.Address)}}}
	if err := guarded(machine, func() error {
		return raft.RecoverCluster(conf, machine, dir.Log(), dir.Log(), dir.Snapshots(), trans, alone)
	}); err != nil {
		return r, fmt.Errorf("recover %s: %w. The copy in %s is as it was before", path, err, copyTo)
	}
	// If a restore was under way, it is over now, one way or the other: this master's state is the cluster's.
	return r, ClearInstalling(dir)
}
