package testcluster_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scaleout/cluster/recovery"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/store"
	"scaleout/testcluster"
)

// Only one master of three is left. It recovers alone, and the cluster grows again.
func TestOneMasterIsLeft(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Deploy("F", "P", map[string]string{"a.sh": "exit 0\n"})
	w := c.Worker(testcluster.WorkerConfig{})
	c.WaitStatus(c.Run("F/P/a.sh", 0, nil), 20*time.Second, 7)
	waiting := c.Create("F/P/a.sh", nil)
	left := c.Others(c.Leader())[0]
	index := func() uint64 {
		h, err := c.Client(left).StateHash(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return h.Index
	}
	at := index()
	c.Eventually("the follower has it all", 10*time.Second, func() bool { return index() > at+1 })
	quiet := slog.New(slog.DiscardHandler)
	copied := filepath.Join(t.TempDir(), "copy")
	if _, err := recovery.Recover(c.Data(left), copied, quiet); err == nil {
		t.Fatal("a running master was recovered")
	}
	for _, i := range c.Others(left) {
		c.Kill(i)
		c.Wipe(i)
	}
	c.Kill(left)

	seen, err := recovery.Inspect(c.Data(left), quiet)
	if err != nil || len(seen.Members) != 3 || seen.Self.Name != c.Name(left) || seen.LastIndex <= at ||
		len(seen.Missing) != 0 {
		t.Fatalf("%+v, %v", seen, err)
	}
	if _, err := recovery.Recover(c.Data(left), copied, quiet); err != nil {
		t.Fatal(err)
	}
	if before, err := recovery.Inspect(copied, quiet); err != nil || len(before.Members) != 3 || before.ID != seen.ID {
		t.Errorf("the copy holds %+v, %v", before, err)
	}
	after, err := recovery.Inspect(c.Data(left), quiet)
	if err != nil || len(after.Members) != 1 || after.Members[0].ID != seen.ID || after.LastIndex != seen.LastIndex {
		t.Fatalf("%+v, %v", after, err)
	}
	// A project file that only the lost masters had must not keep the cluster small for ever.
	dir, err := store.Open(c.Data(left), store.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for digest := range after.State.Blobs() {
		if _, err := dir.Blobs().Delete(digest, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	c.Restart(left)
	if got := c.Leader(); got != left {
		t.Fatalf("%d leads", got)
	}
	for _, i := range c.Others(left) {
		c.Restart(i)
	}
	c.Eventually("three voters", 40*time.Second, func() bool {
		s, err := c.Admin().Cluster(t.Context())
		voters := 0
		for _, m := range s.Members {
			if m.Role == wire.RoleVoter && m.Health == "healthy" {
				voters++
			}
		}
		return err == nil && voters == 3
	})
	page, err := c.Admin().View(t.Context(), "executions", client.Query{Equal: map[string]any{"execution_id": waiting}})
	if err != nil || len(page.Rows) != 1 {
		t.Errorf("%v, %v", page.Rows, err)
	}
	c.Deploy("F", "Q", map[string]string{"a.sh": "exit 0\n"})
	c.Kill(left) // the two new masters continue
	c.WaitStatus(c.Run("F/Q/a.sh", 0, nil), 30*time.Second, 7)
	_ = w
}

func TestNothingToRecover(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	folder := filepath.Join(t.TempDir(), "data")
	dir, err := store.Open(folder, store.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	copied := folder + ".copy"
	if _, err := recovery.Recover(folder, copied, quiet); err == nil {
		t.Error("an empty directory was recovered")
	}
	if err := os.RemoveAll(copied); err != nil {
		t.Fatal(err)
	}
	if _, err := recovery.Recover(folder+"x", copied, quiet); err == nil {
		t.Error("no directory was recovered")
	}
	if _, err := os.Stat(copied); err == nil {
		t.Error("a copy of nothing")
	}
}
