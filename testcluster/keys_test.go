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
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// Two masters whose clocks are minutes apart lead in turn, which moves state time by as much at once. A retry that is
// under way meanwhile gets the first answer.
func TestAKeyOutlivesAJumpOfStateTime(t *testing.T) {
	c := testcluster.Start(t, 3, testcluster.Settings(func(i int, cfg *master.Config) {
		ahead := []time.Duration{-2 * time.Minute, 4 * time.Minute, 0}[i]
		cfg.Now = func() time.Time { return time.Now().Add(ahead) }
	}))
	caller := c.As(pki.RoleUser, "admin", "ssis_admin")
	create := func(key, name string) string {
		t.Helper()
		body := strings.NewReader(fmt.Sprintf(`{"folder_name":%q}`, name))
		req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+c.Address(2)+"/v1/catalog/procedures/create_folder", body)
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
