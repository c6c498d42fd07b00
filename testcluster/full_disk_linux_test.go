package testcluster_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scaleout/cluster"
	"scaleout/cmd/master"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// small is the index of the master with a small disk of smallMiB.
const (
	small    = 0
	smallMiB = 48
)

// lead makes a master the leader.
func lead(t *testing.T, c *testcluster.Cluster, i int) {
	t.Helper()
	c.Eventually(c.Name(i)+" leads", 30*time.Second, func() bool {
		if c.Leader() == i {
			return true
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, _ = c.Admin().Transfer(ctx, c.Name(i)) // a busy machine may refuse
		return false
	})
}

// unready returns the detail of a check of a master's /readyz that fails, and "" if the check does not fail.
func unready(t *testing.T, c *testcluster.Cluster, i int, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r, err := c.Client(i).Ready(ctx)
	if err != nil {
		return ""
	}
	for _, k := range r.Checks {
		if k.Name == name && !k.OK && !r.Ready {
			return k.Detail
		}
	}
	return ""
}

// allTold waits until everybody who monitors the cluster can see the full disk.
func allTold(t *testing.T, c *testcluster.Cluster, i int) {
	t.Helper()
	const cause = "no space left on disk"
	c.Eventually("its log says so", 20*time.Second, func() bool { return c.Logged(i, cause) })
	c.Eventually("its /readyz says so", 20*time.Second, func() bool {
		detail := unready(t, c, i, "disk")
		return strings.Contains(detail, cause) && strings.Contains(detail, c.Data(i))
	})
	c.Eventually("the cluster's status says so", 20*time.Second, func() bool {
		m := status(t, c)[c.Name(i)]
		return strings.HasPrefix(m.Health, "disk: ") && m.DiskFreeBytes >= 0 && m.DiskFreeBytes < 1<<20
	})
	c.Eventually("its metrics say so", 20*time.Second, func() bool {
		raw, err := c.Client(i).Metrics(t.Context())
		return err == nil && strings.Contains(string(raw), "\nscaleout_disk_free_bytes 0\n") &&
			strings.Contains(string(raw), "\nscaleout_ready 0\n")
	})
	other := c.Client(c.Others(i)[0]) // its own events are as old as its log, so another master is asked
	c.Eventually("an event says so", 20*time.Second, func() bool { return happened(t, other, "disk_full", c.Name(i)) })
}

// happened reports whether there is an event of the type about a master.
func happened(t *testing.T, c *client.Client, kind, name string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	found := false
	_ = c.Events(ctx, client.EventsFrom{After: "0"}, func(e wire.Event) error {
		found = found || e.Type == kind && e.Name == name
		if found {
			return io.EOF
		}
		return nil
	})
	return found
}

// well waits until a master is healthy and ready again.
func well(t *testing.T, c *testcluster.Cluster, i int) {
	t.Helper()
	c.Eventually(c.Name(i)+" is well", 30*time.Second, func() bool {
		m := status(t, c)[c.Name(i)]
		return ready(t.Context(), c, i) && m.Health == "healthy" && m.LagEntries < 100
	})
}

// The leader's disk fills under load, at once and to the last byte. Another master leads, nothing that was acknowledged
// is lost, the full disk is reported everywhere, and the master catches up by itself when there is room again.
func TestTheLeadersDiskFills(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 3, testcluster.Processes(), testcluster.SmallDisk(small, smallMiB))
	deployRecorder(t, c, "true")
	mine := c.Controller("mine", time.Minute, time.Minute)
	lead(t, c, small)
	l := startLoad(t, c, 3)
	defer l.end()
	w := startWitness(t, c, small, mine, "asked-of-the-full-one")
	defer w.end()
	was := l.done.Load()
	c.Eventually("the load runs", 30*time.Second, func() bool { return l.done.Load() > was+20 })
	free := c.FillDisk(small, 0)
	takeOver(t, c, small)
	var ids []int64
	for range 3 {
		ids = append(ids, c.Run("ETL/Recorder/work.sh", 0, map[string]any{"Out": "x"}))
	}
	c.Eventually("the work is granted", 30*time.Second, func() bool {
		for _, id := range ids {
			if task(t, c, id).Text("status") != "running" {
				return false
			}
		}
		return true
	})
	allTold(t, c, small)
	if c.Leader() == small {
		t.Error("the master with the full disk leads again")
	}
	was = l.done.Load()
	c.Eventually("the others go on", 30*time.Second, func() bool { return l.done.Load() > was+20 })
	l.end()
	w.end()
	gap := l.longest()
	t.Logf("%v without a write", gap.Round(time.Millisecond))
	if gap > 15*time.Second {
		t.Errorf("%v without a write", gap)
	}
	for _, err := range l.errs {
		t.Errorf("a call that could try every master failed: %v", err)
	}
	free()
	well(t, c, small)
	w.check(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	kept := 0
	for row, err := range c.Admin().Rows(ctx, "folders", client.Query{PageSize: 1000}) {
		must(t, err)
		if strings.HasPrefix(row.Text("name"), "load-") {
			kept++
		}
	}
	if kept != len(l.moments) {
		t.Errorf("%d writes were acknowledged, %d are there", len(l.moments), kept)
	}
}

// A leader with a nearly full disk transfers its leadership before a call fails. It does not lead again although it
// could still write: the next large entry would end it.
func TestALeaderShortOfRoomHandsOver(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 3, testcluster.Processes(), testcluster.SmallDisk(small, smallMiB))
	lead(t, c, small)
	l := startLoad(t, c, 2)
	defer l.end()
	free := c.FillDisk(small, 8<<20)
	takeOver(t, c, small)
	if !c.Logged(small, "must not lead with its disk") {
		t.Error("nobody was told why it hands over")
	}
	if detail := unready(t, c, small, "disk"); detail != "" {
		t.Errorf("it still writes, and /readyz says %s", detail)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, _ = c.Admin().Transfer(ctx, c.Name(small)) // it may transfer leadership again before it answers
	c.Eventually("another one leads", 20*time.Second, func() bool { return c.Leader() != small })
	if !c.Logged(small, "another master should lead") {
		t.Error("it led in between")
	}
	l.end()
	for _, err := range l.errs {
		t.Errorf("a call failed: %v", err)
	}
	free()
	well(t, c, small)
}

// blob returns random content and its digest.
func blob(t *testing.T, size int) (digest string, raw []byte) {
	t.Helper()
	raw = make([]byte, size)
	_, err := rand.Read(raw)
	must(t, err)
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), raw
}

func upload(ctx context.Context, c *client.Client, digest string, raw []byte) error {
	_, err := c.PutBlob(ctx, digest, int64(len(raw)),
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil })
	return err
}

// under lists the files in a folder of a master's data directory, by name.
func under(t *testing.T, c *testcluster.Cluster, i int, folder string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := filepath.WalkDir(filepath.Join(c.Data(i), folder), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			out[d.Name()] = info.Size()
		}
		return err
	})
	must(t, err)
	return out
}

// Uploads fill the leader's disk. The upload that does not fit gets a clear error, leaves no file, and succeeds once
// another master leads.
func TestUploadsFillTheLeadersDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 3, testcluster.Processes(), testcluster.SmallDisk(small, smallMiB))
	lead(t, c, small)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// The content is larger than the whole disk, so it does not fit however much is free.
	digest, raw := blob(t, (smallMiB+1)<<20)
	err := upload(ctx, c.Client(small), digest, raw)
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusInsufficientStorage || refused.Code != "no_space" {
		t.Errorf("an upload to a full disk: %v", err)
	} else {
		t.Logf("refused: %v", err)
	}
	for name := range under(t, c, small, "blobs") {
		if strings.Contains(name, digest[:16]) {
			t.Errorf("left of the refused upload: %s", name)
		}
	}
	if n := status(t, c)[c.Name(small)].DiskFreeBytes; n < 16<<20 {
		t.Errorf("%d bytes are free after the refused upload", n)
	}
	// Uploads that fit, until the master does not lead any more.
	c.Eventually("another master leads", 30*time.Second, func() bool {
		digest, raw := blob(t, 3<<20)
		if err := upload(ctx, c.Admin(), digest, raw); err != nil && client.Code(err) != "no_space" {
			t.Errorf("an upload: %v", err)
		}
		return c.Leader() != small
	})
	// Blobs that one master has no room for are on a majority of the masters.
	if err := upload(ctx, c.Admin(), digest, raw); err != nil {
		t.Errorf("the upload that was refused, to the others: %v", err)
	}
	for _, i := range c.Others(small) {
		if under(t, c, i, "blobs")[digest] != int64(len(raw)) {
			t.Errorf("%s lacks the blob", c.Name(i))
		}
	}
	fill(t, c, "meanwhile", 20)
}

// A follower with a full disk does not affect the cluster. A snapshot for which there is no room leaves the previous
// snapshot and the log unchanged: after a SIGKILL the master starts on the full disk with all its data.
func TestAFollowersDiskFills(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 3, testcluster.Processes(), testcluster.SmallDisk(small, smallMiB),
		testcluster.Settings(func(_ int, cfg *master.Config) {
			cfg.Snapshots = &cluster.Snapshots{Every: 200 * time.Millisecond, Entries: 64, Trailing: 8}
		}))
	lead(t, c, 1)
	fill(t, c, "before", 150)
	c.Eventually("a snapshot", 20*time.Second, func() bool { return len(snapshots(t, c, small)) > 0 })
	free := c.FillDisk(small, 0)
	had := snapshots(t, c, small)
	at := time.Now()
	fill(t, c, "during", 300)
	t.Logf("300 writes took %v", time.Since(at).Round(time.Millisecond))
	if c.Leader() == small {
		t.Error("the master with the full disk leads")
	}
	allTold(t, c, small)
	if now := snapshots(t, c, small); len(now) == 0 {
		t.Errorf("of the snapshots %v none is left", had)
	}
	for name := range under(t, c, small, "snapshots") {
		if strings.Contains(name, ".tmp") {
			t.Errorf("left of a snapshot that did not fit: %s", name)
		}
	}
	c.Kill(small)
	c.Restart(small)
	c.Eventually("it starts on the full disk", 20*time.Second, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Client(small).Leader(ctx)
		return err == nil
	})
	fill(t, c, "after", 20)
	free()
	well(t, c, small)
}

// A master whose new data directory has no room says so in one error and ends.
func TestAMasterStartsOnAFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 3, testcluster.Processes(), testcluster.SmallDisk(small, smallMiB))
	lead(t, c, 1)
	c.Kill(small)
	entries, err := os.ReadDir(c.Data(small))
	must(t, err)
	for _, e := range entries { // the mount point itself remains
		must(t, os.RemoveAll(filepath.Join(c.Data(small), e.Name())))
	}
	free := c.FillDisk(small, 0)
	c.Restart(small)
	if code, _ := c.Wait(small); code != 1 {
		t.Errorf("it ended with code %d, want 1", code)
	}
	if !c.Said("no space left on disk: "+c.Data(small)) || !c.Said("make room") {
		t.Error("nobody was told what to do")
	}
	free()
	c.Forget(small) // it would be a new node under an old name
}
