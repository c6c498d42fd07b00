package testcluster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/archive"
	"scaleout/cluster/backup"
	"scaleout/cluster/recovery"
	"scaleout/cmd/master"
	"scaleout/fsm/ispac"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/store"
	"scaleout/testcluster"
)

func lockOf(t *testing.T, secret string) client.BackupLock {
	t.Helper()
	lock := archive.NewLock(archive.FromKeyFile)
	key, err := lock.Key([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	how, err := json.Marshal(lock)
	if err != nil {
		t.Fatal(err)
	}
	return client.BackupLock{Key: key, How: how}
}

func save(t *testing.T, c *client.Client, blobs bool, lock client.BackupLock) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := c.Backup(t.Context(), blobs, lock, func(r io.Reader) error {
		file.Reset()
		_, err := file.ReadFrom(r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func restore(t *testing.T, c *client.Client, file []byte, lock client.BackupLock) (missing []string, err error) {
	t.Helper()
	out, err := c.Restore(t.Context(), lock, int64(len(file)), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(file)), nil
	})
	return out.Missing, err
}

func refusedWith(t *testing.T, err error, code string) {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("refused with %v, want %s", err, code)
	}
}

const backupSecret = "0123456789abcdef0123456789abcdef"

// A backup of one cluster runs in another, with its secrets. It is restored only as a whole, and only into an empty
// cluster.
func TestBackupIsRestoredIntoANewCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	old := testcluster.Start(t, 3)
	old.Deploy("ETL", "Jobs", map[string]string{"a.sh": "echo \"$PROJECT_PARAM_PASSWORD\" > \"$PROJECT_PARAM_OUT\"\n"},
		ispac.ParameterDefinition{Name: "Out", Type: "String", Required: true},
		ispac.ParameterDefinition{Name: "Password", Type: "String", Required: true, Sensitive: true})
	proof := filepath.Join(t.TempDir(), "proof")
	waiting := old.Run("ETL/Jobs/a.sh", 0, map[string]any{"Out": proof, "Password": "s3cret!"}) // there is no worker yet
	lock := lockOf(t, backupSecret)
	follower := old.Others(old.Leader())[0]
	file := save(t, old.Client(follower), true, lock)
	bare := save(t, old.Client(follower), false, client.BackupLock{})
	if bytes.Contains(file, []byte("s3cret!")) {
		t.Error("the secret is in clear in the file")
	}
	_, err := restore(t, old.Admin(), file, lock)
	refusedWith(t, err, "cluster_not_empty")

	// A leader that loses its place while it restores ends itself: on a busy machine a short lease would be over by
	// chance.
	c := testcluster.Start(t, 3, testcluster.Profile("wan"))
	admin := c.Admin()
	for name, bad := range map[string][]byte{"cut": file[:len(file)-40], "nothing": nil, "flipped": flipped(file),
		"longer": append(slices.Clone(file), 1)} {
		if _, err := restore(t, admin, bad, lock); err == nil {
			t.Errorf("%s: restored", name)
		} else {
			refusedWith(t, err, "backup_damaged")
		}
	}
	_, err = restore(t, admin, file, lockOf(t, backupSecret+"x"))
	refusedWith(t, err, "backup_key")
	_, err = restore(t, admin, file, client.BackupLock{})
	refusedWith(t, err, "backup_key")
	stopped := c.Others(c.Leader())[0]
	c.Stop(stopped)
	_, err = restore(t, admin, file, lock)
	refusedWith(t, err, "refused")
	c.Restart(stopped)
	c.Eventually("all are ready", 20*time.Second, func() bool {
		r, err := c.Client(stopped).Ready(t.Context())
		return err == nil && r.Ready
	})
	folders, err := admin.View(t.Context(), "folders", client.Query{})
	if err != nil || len(folders.Rows) != 0 {
		t.Fatalf("a refused restore left %v, %v", folders.Rows, err)
	}

	missing, err := restore(t, c.Client(c.Others(c.Leader())[0]), file, lock)
	if err != nil || len(missing) != 0 {
		t.Fatal(missing, err)
	}
	c.WaitHashes()
	c.Worker(testcluster.WorkerConfig{Lease: time.Minute, Tolerance: time.Minute}) // as long as these timings ask for
	c.WaitStatus(waiting, 30*time.Second, 7)
	if raw, err := os.ReadFile(proof); err != nil || strings.TrimSpace(string(raw)) != "s3cret!" {
		t.Errorf("the package saw %q, %v", raw, err)
	}
	c.Kill(c.Leader()) // the next leader has keys, blobs and state, too
	id := c.Run("ETL/Jobs/a.sh", 0, map[string]any{"Out": proof + "2", "Password": "other"})
	c.WaitStatus(id, 30*time.Second, 7)
	_, err = restore(t, admin, file, lock)
	refusedWith(t, err, "cluster_not_empty")

	// A restore without blobs names the digests that are missing.
	alone := testcluster.Start(t, 1)
	missing, err = restore(t, alone.Admin(), bare, client.BackupLock{})
	if err != nil || len(missing) != 1 {
		t.Fatal(missing, err)
	}
	page, err := alone.Admin().View(t.Context(), "executions", client.Query{})
	if err != nil || len(page.Rows) != 1 {
		t.Errorf("%v, %v", page.Rows, err)
	}
}

func flipped(file []byte) []byte {
	bad := slices.Clone(file)
	bad[len(bad)/2] ^= 1
	return bad
}

// Each master writes its own backups and keeps the newest.
func TestScheduledBackups(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	folder := t.TempDir()
	keyFile := filepath.Join(folder, "key")
	if err := os.WriteFile(keyFile, []byte(backupSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// What a killed master left is removed; the files of a master with a similar name stay.
	left := filepath.Join(folder, "files", "master-1-20260101T000000Z.tar.tmp-17")
	others := filepath.Join(folder, "files", "master-1-b-20260101T000000Z.tar.tmp-17")
	// A backup from the future, of a clock that was ahead, does not delay the next one.
	ahead := filepath.Join(folder, "files", "master-2-20990101T000000Z.tar")
	if err := os.Mkdir(filepath.Join(folder, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{left, others, ahead} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := testcluster.Start(t, 3, testcluster.Settings(func(_ int, cfg *master.Config) {
		cfg.MetricsOpen = true
		cfg.Backups = backup.Schedule{Folder: filepath.Join(folder, "files"), Interval: time.Second, Retain: 2,
			KeyFile: keyFile}
	}))
	backupsOf := func(i int) (list []string) {
		list, _ = filepath.Glob(filepath.Join(folder, "files", c.Name(i)+"-*.tar"))
		return list
	}
	first := map[int]string{}
	for i := range 3 {
		c.Eventually("a first backup", 20*time.Second, func() bool { return len(backupsOf(i)) > 0 })
		first[i] = backupsOf(i)[0]
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what was not finished: %v", err)
	}
	if _, err := os.Stat(others); err != nil {
		t.Error(err)
	}
	for i := range 3 {
		c.Eventually("old ones go", 20*time.Second,
			func() bool { list := backupsOf(i); return len(list) > 0 && list[0] != first[i] })
		if n := len(backupsOf(i)); n > 3 {
			t.Errorf("%s keeps %d", c.Name(i), n)
		}
	}
	c.Eventually("the metric says when", 20*time.Second, func() bool {
		at := families(t, c, 1)["scaleout_backup_last_success_timestamp_seconds"].GetMetric()
		return len(at) == 1 && time.Since(time.Unix(int64(at[0].GetGauge().GetValue()), 0)).Abs() < time.Minute
	})
	newest := backupsOf(0)[len(backupsOf(0))-1]
	f, err := os.Open(newest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if found, err := archive.Verify(f); err != nil || !found.Metadata.KeyRing || found.Metadata.Master != c.Name(0) {
		t.Errorf("%+v, %v", found, err)
	}
}

// A master that ended while it installed a restored state cannot know what the others have. It does not start with that
// state, and comes back as a new node.
func TestHalfARestoreIsNotGuessedAt(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	i := c.Leader()
	c.Kill(i)
	dir, err := store.Open(c.Data(i), store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dir.Save("installing", map[string]any{"pending": true}), dir.Close()); err != nil {
		t.Fatal(err)
	}
	c.Restart(i)
	if _, err := c.Wait(i); !errors.Is(err, recovery.ErrInstalling) {
		t.Fatalf("it ended with %v", err)
	}
	c.Wipe(i)
	c.Restart(i)
	c.Eventually("it is a voter again", 30*time.Second, func() bool {
		s, err := c.Admin().Cluster(t.Context())
		voters := 0
		for _, m := range s.Members {
			if m.Role == wire.RoleVoter && m.Health == "healthy" {
				voters++
			}
		}
		return err == nil && voters == 3
	})
}
