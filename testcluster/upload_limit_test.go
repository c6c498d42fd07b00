package testcluster_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scaleout/cmd/master"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// The bytes that were uploaded and that no project names are limited, whichever master leads or restarts. A deployment
// frees its part of them.
func TestUploadsThatNoProjectNamesAreLimited(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	const most = 256 << 10 // four blobs of the smallest size that counts
	c := testcluster.Start(t, 3, testcluster.Settings(func(_ int, cfg *master.Config) {
		cfg.MaxProjectBytes, cfg.MaxUnnamedBlobBytes = most, most
	}))
	content := c.Pack("name: Job\npackages:\n  - name: a.sh\n", map[string]string{"a.sh": "true\n"})
	upload := func(by *client.Client, content []byte) error {
		sum := sha256.Sum256(content)
		_, err := by.PutBlob(t.Context(), hex.EncodeToString(sum[:]), int64(len(content)), func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		})
		return err
	}
	limited := func(when string, err error) {
		t.Helper()
		var e *client.Error
		if !errors.As(err, &e) || e.Status != http.StatusTooManyRequests || e.Code != wire.CodeLimitReached ||
			e.Problem.Limit != "MaxUnnamedBlobBytes" || e.RetryAfter == 0 {
			t.Errorf("%s: %v, want limit_reached of MaxUnnamedBlobBytes", when, err)
		}
	}
	if err := upload(c.User("reader", "ssis_logreader"), content); client.Code(err) != wire.CodePermissionDenied {
		t.Errorf("who may not deploy: %v", err)
	}
	admin := c.Client(c.Others(c.Leader())[0])
	must(t, upload(admin, content))
	for i := range 3 {
		must(t, upload(admin, fmt.Append(nil, "upload ", i)))
	}
	limited("a fifth", upload(admin, []byte("a fifth")))
	must(t, upload(c.User("another", "ssis_admin"), []byte("a fifth")))

	leader := c.Leader()
	c.Eventually("the marks are on all masters", 20*time.Second, func() bool {
		for i := range 3 {
			marks, err := os.ReadDir(filepath.Join(c.Data(i), "blobs", "uploads"))
			must(t, err)
			if len(marks) != 5 {
				return false
			}
		}
		return true
	})
	c.Kill(leader)
	c.Leader()
	limited("after a change of leader", upload(c.Client(c.Others(leader)[0]), []byte("a sixth")))
	c.Restart(leader)
	c.DeployFile("ETL", "Job", content)
	must(t, upload(c.Admin(), []byte("a sixth")))
	limited("a seventh", upload(c.Admin(), []byte("a seventh")))
}
