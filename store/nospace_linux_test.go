package store

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"

	"scaleout/fsm/command"
)

// tiny mounts a file system of a few megabytes.
func tiny(t *testing.T, size string) string {
	t.Helper()
	path := t.TempDir()
	mountTiny(t, path, size)
	return path
}

func mountTiny(t *testing.T, path, size string) {
	t.Helper()
	if err := unix.Mount("tiny", path, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("SCALEOUT_MOUNT") != "" {
			t.Fatalf("a small file system cannot be mounted: %v", err)
		}
		t.Skipf("a small file system cannot be mounted (%v); root can, and so can 'unshare --map-root-user --mount'", err)
	}
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
}

// fillUp leaves no byte free, and returns the function that gives the space back.
func fillUp(t *testing.T, path string) (free func()) {
	t.Helper()
	name := filepath.Join(path, "ballast")
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	for chunk := 1 << 16; chunk > 0; {
		if _, err := f.Write(make([]byte, chunk)); err != nil {
			chunk /= 2
		}
	}
	return func() { must(t, os.Remove(name)) }
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestFullDisk(t *testing.T) {
	root := tiny(t, "4m")
	path := filepath.Join(root, "data")
	d := open(t, path)
	must(t, d.Log().StoreLogs(entries(1, 20, 1000)))
	must(t, d.Log().SetUint64([]byte("CurrentTerm"), 3))
	must(t, d.Save("doc", "kept"))
	digest := put(t, d.Blobs(), "kept")

	// The disk gets full in the middle of a stream; what had been written is removed and makes room again.
	_, _, err := d.Blobs().Create(context.Background(), io.LimitReader(zeros{}, 64<<20), 0)
	wantErr(t, err, command.ErrNoSpace, path, "bytes free")
	if n, _ := d.Free(); n < 1<<20 {
		t.Errorf("%d bytes free after the failed blob", n)
	}
	sink, err := d.Snapshots().Create(1, 20, 1, raft.Configuration{}, 1, nil)
	must(t, err)
	_, err = io.CopyN(sink, zeros{}, 64<<20)
	wantErr(t, err, command.ErrNoSpace, snapshotsName)
	must(t, sink.Cancel())
	if n, _ := d.Free(); n < 1<<20 {
		t.Errorf("%d bytes free after the failed snapshot", n)
	}

	free := fillUp(t, root)
	_, err = d.Blobs().Put(context.Background(), digestOf("new"),
		readerFunc(func(p []byte) (int, error) { return copy(p, "new"), io.EOF }), 0)
	wantErr(t, err, command.ErrNoSpace, path)
	wantErr(t, d.Save("doc", "lost"), command.ErrNoSpace, "doc.json")
	var stored uint64
	for i := uint64(21); i < 4000; i++ {
		if err = d.Log().StoreLog(entry(i, 20_000)); err != nil {
			break
		}
		stored = i
	}
	wantErr(t, err, command.ErrNoSpace, logName, "bytes free")
	if sink, err := d.Snapshots().Create(1, 20, 1, raft.Configuration{}, 1, nil); err == nil {
		_, err = io.WriteString(sink, "state")
		must(t, err) // into memory
		wantErr(t, sink.Close(), command.ErrNoSpace, snapshotsName)
	} else {
		wantErr(t, err, command.ErrNoSpace, snapshotsName)
	}
	for name := range files(t, filepath.Join(path, snapshotsName)) {
		t.Errorf("left over in snapshots: %s", name)
	}

	check := func(d *Dir) {
		t.Helper()
		for i := uint64(1); i <= 20; i++ {
			wantEntry(t, d.Log(), entry(i, 1000))
		}
		var doc string
		if _, err := d.Load("doc", &doc); err != nil || doc != "kept" {
			t.Errorf("document %q, %v", doc, err)
		}
		must(t, d.Blobs().Verify(context.Background(), digest))
		if d.Blobs().Has(digestOf("new")) {
			t.Error("the refused blob is here")
		}
	}
	check(d)
	// Starting on a full disk, as a service manager would.
	closeDir(t, d)
	if d2, err := Open(path, Options{Logger: quiet()}); err == nil {
		check(d2)
		closeDir(t, d2)
	} else {
		wantErr(t, err, command.ErrNoSpace, path)
	}
	free()
	d = open(t, path)
	check(d)
	last, err := d.Log().LastIndex()
	must(t, err)
	if last < max(stored, 20) {
		t.Errorf("log ends at %d, stored to %d", last, stored)
	}
	// The same process goes on once there is room.
	must(t, d.Log().StoreLog(entry(last+1, 20_000)))
	must(t, d.Save("doc", "new"))
}

func TestFullDiskHealsInTheSameProcess(t *testing.T) {
	root := tiny(t, "4m")
	d := open(t, filepath.Join(root, "data"))
	must(t, d.Log().StoreLogs(entries(1, 20, 1000)))
	free := fillUp(t, root)
	err := d.Log().StoreLogs(entries(21, 60, 50_000))
	wantErr(t, err, command.ErrNoSpace)
	wantErr(t, d.Log().Failing(), command.ErrNoSpace, logName)
	must(t, d.Log().SetUint64([]byte("CurrentTerm"), 2)) // fits where entries do not
	wantErr(t, d.Log().Failing(), command.ErrNoSpace)
	wantRange(t, d.Log(), 1, 20)
	free()
	must(t, d.Log().StoreLogs(entries(21, 40, 5000)))
	must(t, d.Log().Failing())
	for i := uint64(21); i <= 40; i++ {
		wantEntry(t, d.Log(), entry(i, 5000))
	}
}

func TestCopyToAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	d := open(t, path)
	_, _, err := d.Blobs().Create(context.Background(), io.LimitReader(zeros{}, 2<<20), 0)
	must(t, err)
	closeDir(t, d)
	root := tiny(t, "1m")
	wantErr(t, CopyDir(path, filepath.Join(root, "copy")), command.ErrNoSpace, root)
	if left := files(t, root); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestFullDiskAtTheFirstOpen(t *testing.T) {
	root := tiny(t, "1m")
	free := fillUp(t, root)
	path := filepath.Join(root, "data")
	_, err := Open(path, Options{Logger: quiet()})
	wantErr(t, err, command.ErrNoSpace, root)
	free()
	start := time.Now()
	d := open(t, path)
	if !d.New() || d.node.Created.Before(start.Add(-time.Minute)) {
		t.Error("not a new node")
	}
}

// A new snapshot is there as a whole or not at all, also if an old one cannot be removed.
func TestAnOldSnapshotThatCannotBeRemoved(t *testing.T) {
	d := open(t, t.TempDir())
	write := func(index uint64) error {
		sink, err := d.Snapshots().Create(1, index, 1, raft.Configuration{}, 1, nil)
		must(t, err)
		_, err = io.WriteString(sink, "state")
		must(t, err)
		return sink.Close()
	}
	must(t, write(10))
	list, err := d.Snapshots().List()
	must(t, err)
	busy := filepath.Join(d.Path(), snapshotsName, list[0].ID, "busy")
	must(t, os.Mkdir(busy, 0o700))
	mountTiny(t, busy, "64k")
	for _, index := range []uint64{20, 30, 40} {
		if err := write(index); err != nil {
			t.Errorf("the snapshot of entry %d: %v", index, err)
		}
	}
	list, err = d.Snapshots().List()
	must(t, err)
	if len(list) != 2 || list[0].Index != 40 || list[1].Index != 30 {
		t.Errorf("listed: %+v", list)
	}
	must(t, unix.Unmount(busy, unix.MNT_DETACH))
	must(t, write(50))
	if kept, _ := os.ReadDir(filepath.Join(d.Path(), snapshotsName)); len(kept) != 2 {
		t.Errorf("kept: %v", kept)
	}
}
