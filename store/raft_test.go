package store

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// counter is the smallest state machine that notices a lost or doubled entry.
type counter struct{ text strings.Builder }

func (c *counter) Apply(l *raft.Log) any { c.text.Write(l.Data); return nil }
func (c *counter) Snapshot() (raft.FSMSnapshot, error) {
	return counterSnapshot(c.text.String()), nil
}
func (c *counter) Restore(r io.ReadCloser) error {
	defer r.Close()
	c.text.Reset()
	_, err := io.Copy(&c.text, r)
	return err
}

type counterSnapshot string

func (s counterSnapshot) Release() {}
func (s counterSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := io.WriteString(sink, string(s)); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func startRaft(t *testing.T, d *Dir, c *counter) (*raft.Raft, error) {
	t.Helper()
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(d.ID())
	conf.HeartbeatTimeout, conf.ElectionTimeout = 50*time.Millisecond, 50*time.Millisecond
	conf.LeaderLeaseTimeout, conf.CommitTimeout = 50*time.Millisecond, time.Millisecond
	conf.TrailingLogs = 10
	conf.Logger = hclog.NewNullLogger()
	addr, trans := raft.NewInmemTransport("")
	if d.New() {
		must(t, raft.BootstrapCluster(conf, d.Log(), d.Log(), d.Snapshots(), trans,
			raft.Configuration{Servers: []raft.Server{{ID: conf.LocalID, Address: addr}}}))
	}
	return raft.NewRaft(conf, c, d.Log(), d.Log(), d.Snapshots(), trans)
}

func TestARaftNodeRestartsFromTheDirectory(t *testing.T) {
	path := t.TempDir()
	want := ""
	for round := range 3 {
		d := open(t, path)
		c := &counter{}
		r, err := startRaft(t, d, c)
		must(t, err)
		eventually(t, "a leader", func() bool { return r.State() == raft.Leader })
		must(t, r.Barrier(5*time.Second).Error())
		if c.text.String() != want {
			t.Fatalf("round %d: state %q, want %q", round, c.text.String(), want)
		}
		for i := range 30 {
			word := fmt.Sprintf("%d.%d ", round, i)
			must(t, r.Apply([]byte(word), 5*time.Second).Error())
			want += word
		}
		must(t, r.Snapshot().Error())
		last, err := d.Log().LastIndex()
		must(t, err)
		first, err := d.Log().FirstIndex()
		must(t, err)
		if last-first+1 > 10 {
			t.Errorf("round %d: log is %d to %d after a snapshot", round, first, last)
		}
		must(t, r.Apply([]byte("tail "), 5*time.Second).Error())
		want += "tail "
		must(t, r.Shutdown().Error())
		closeDir(t, d)
	}
	if kept, _ := os.ReadDir(filepath.Join(path, snapshotsName)); len(kept) != 2 {
		t.Errorf("%d snapshots kept", len(kept))
	}
}

func TestDamagedNewestSnapshot(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	r, err := startRaft(t, d, &counter{})
	must(t, err)
	eventually(t, "a leader", func() bool { return r.State() == raft.Leader })
	for range 2 {
		for range 30 {
			must(t, r.Apply([]byte("word "), 5*time.Second).Error())
		}
		must(t, r.Snapshot().Error())
	}
	must(t, r.Shutdown().Error())
	list, err := d.Snapshots().List()
	must(t, err)
	closeDir(t, d)
	flip(t, filepath.Join(path, snapshotsName, list[0].ID, "state.bin"), 20)

	// The older snapshot is sound and still of no use: the entries in between are gone, so Raft would begin with a hole.
	_, err = Open(path, Options{Logger: quiet()})
	wantErr(t, err, ErrCorrupt, list[0].ID, "state.bin", "checksum", list[1].ID, "does not lead", "new node")
}

func TestAnOlderSnapshotStandsIn(t *testing.T) {
	d := open(t, t.TempDir())
	must(t, d.Log().StoreLogs(entries(1, 30, 10)))
	var ids []string
	for _, index := range []uint64{10, 20} {
		sink, err := d.Snapshots().Create(1, index, 1, raft.Configuration{}, 1, nil)
		must(t, err)
		_, err = io.WriteString(sink, "state")
		must(t, err)
		must(t, sink.Close())
		ids = append(ids, sink.ID())
	}
	must(t, d.Log().DeleteRange(1, 5))
	flip(t, filepath.Join(d.Path(), snapshotsName, ids[1], "state.bin"), 2)
	_, _, err := d.Snapshots().Open(ids[1])
	wantErr(t, err, ErrCorrupt, ids[1])
	if _, content, err := d.Snapshots().Open(ids[0]); err != nil {
		t.Errorf("the log leads on from it: %v", err)
	} else {
		content.Close()
	}
	must(t, d.Log().DeleteRange(15, 15))
	_, _, err = d.Snapshots().Open(ids[0])
	wantErr(t, err, ErrCorrupt, ids[0])
}

func TestSnapshotThatCannotBeRead(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	sink, err := d.Snapshots().Create(1, 7, 1, raft.Configuration{}, 1, nil)
	must(t, err)
	must(t, sink.Close())
	closeDir(t, d)
	must(t, os.WriteFile(filepath.Join(path, snapshotsName, sink.ID(), "meta.json"), []byte("{"), 0o600))
	_, err = Open(path, Options{Logger: quiet()})
	wantErr(t, err, ErrCorrupt, "entry 7")
	must(t, os.RemoveAll(filepath.Join(path, snapshotsName, sink.ID())))

	d = open(t, path)
	must(t, d.Log().StoreLogs(entries(8, 9, 1)))
	closeDir(t, d)
	_, err = Open(path, Options{Logger: quiet()})
	wantErr(t, err, ErrCorrupt, "begins at entry 8")
}

func TestUnfinishedSnapshotsAreRemoved(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	for i := range uint64(3) {
		sink, err := d.Snapshots().Create(1, 5+i, 1, raft.Configuration{}, 1, nil)
		must(t, err)
		io.WriteString(sink, "half")
		if i == 0 {
			must(t, sink.Close())
		} else {
			defer sink.Cancel()
		}
	}
	closeDir(t, d)
	d = open(t, path)
	if names, _ := os.ReadDir(filepath.Join(path, snapshotsName)); len(names) != 1 {
		t.Errorf("%v", names)
	}
	list, err := d.Snapshots().List()
	if err != nil || len(list) != 1 || list[0].Index != 5 {
		t.Fatalf("%v, %v", list, err)
	}
	_, content, err := d.Snapshots().Open(list[0].ID)
	must(t, err)
	defer content.Close()
	if got, _ := io.ReadAll(content); string(got) != "half" {
		t.Errorf("%q", got)
	}
}
