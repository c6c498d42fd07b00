package testcluster_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/cmd/master"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// Two masters with clocks that are minutes apart lead in turn, so state time jumps at each change. A retry during that
// time gets the first answer.
func TestAKeyOutlivesAJumpOfStateTime(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Settings(func(i int, cfg *master.Config) {
		ahead := []time.Duration{-2 * time.Minute, 4 * time.Minute, 0}[i]
		cfg.Now = func() time.Time { return time.Now().Add(ahead) }
	}))
	caller := c.As(pki.RoleUser, "admin", "ssis_admin")
	create := func(key, name string) string {
		t.Helper()
		body := strings.NewReader(fmt.Sprintf(`{"folder_name":%q}`, name))
		req, err := http.NewRequestWithContext(t.Context(), "POST",
			"https://"+c.Address(2)+"/v1/catalog/procedures/create_folder", body)
		must(t, err)
		if key != "" {
			req.Header.Set(wire.HeaderKey, key)
			req.Header.Set(wire.HeaderKeyOrigin, wire.KeyOriginLibrary)
		}
		resp, err := caller.Do(req)
		must(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		must(t, err)
		if resp.StatusCode != 200 {
			t.Fatalf("create_folder %s: %s", name, b)
		}
		return string(b)
	}
	lead := func(i int) {
		t.Helper()
		c.Eventually("the leadership of "+c.Name(i), 60*time.Second, func() bool {
			if c.Leader() == i {
				return true
			}
			_, _ = c.Admin().Transfer(t.Context(), c.Name(i))
			return false
		})
	}
	lead(0)
	first := create("under-way", "A")
	for round, i := range []int{1, 0, 1} {
		lead(i)
		create("", fmt.Sprint("moves state time ", round)) // any command does
		if again := create("under-way", "A"); again != first {
			t.Fatalf("the same key made two folders: %s, then %s", first, again)
		}
	}
}

// A caller repeats a call after the cluster was restored elsewhere, under another CA and without the old key ring. It
// gets the first answer, and the key still refuses another call.
func TestAKeySurvivesARestore(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	old := testcluster.Start(t, 1)
	args := map[string]any{"folder_name": "A"}
	first, err := old.Admin().Call(t.Context(), "create_folder", args, client.WithKey("kept"))
	must(t, err)
	file := save(t, old.Admin(), true, client.BackupLock{})

	c := testcluster.Start(t, 3, testcluster.Profile("wan")) // a leader that loses its place while it restores ends itself
	if _, err := restore(t, c.Admin(), file, client.BackupLock{}); err != nil {
		t.Fatal(err)
	}
	c.WaitHashes()
	c.Kill(c.Leader())
	again, err := c.Admin().Call(t.Context(), "create_folder", args, client.WithKey("kept"))
	if err != nil || again.ReturnValue != first.ReturnValue {
		t.Errorf("the repeated call: %+v, %v; want %+v", again, err, first)
	}
	_, err = c.Admin().Call(t.Context(), "create_folder", map[string]any{"folder_name": "B"}, client.WithKey("kept"))
	refusedWith(t, err, "key_reused")
}
