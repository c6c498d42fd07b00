package testcluster_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/cmd/master"
	"scaleout/fsm/catalog"
	"scaleout/testcluster"
)

// The CA is replaced, all certificates are replaced one after the other, and the old CA is removed, while packages run
// and calls are made: no call fails. Then the leader is stopped, which shows that the masters also accept each other on
// new connections.
func TestRotationUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	// The timings of a real deployment: handshakes for all connections at once are much for a small machine.
	c := testcluster.Start(t, 3, testcluster.Profile("lan"),
		testcluster.Settings(func(_ int, cfg *master.Config) { cfg.MetricsOpen = true }))
	c.Deploy("ETL", "Jobs", map[string]string{"work.sh": "sleep 0.1\n"})
	for range 2 {
		c.Worker(testcluster.WorkerConfig{MaxTaskCount: 10, Lease: 12 * time.Second, Tolerance: 12 * time.Second})
	}
	user := c.User("caller", "ssis_admin")
	var stop atomic.Bool
	var group sync.WaitGroup
	var mu sync.Mutex
	var ids []int64
	for range 2 {
		group.Go(func() {
			for !stop.Load() {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
				r, err := user.Call(ctx, "create_execution",
					map[string]any{"folder_name": "ETL", "project_name": "Jobs", "package_name": "work.sh"})
				id, _ := r.Int("execution_id")
				if err == nil {
					_, err = user.Call(ctx, "start_execution", map[string]any{"execution_id": id, "retry_count": 0})
				}
				cancel()
				if err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				mu.Lock()
				ids = append(ids, id)
				mu.Unlock()
				<-time.After(50 * time.Millisecond)
			}
		})
	}
	flows := func() {
		t.Helper()
		count := func() int { mu.Lock(); defer mu.Unlock(); return len(ids) }
		target := count() + 5
		c.Eventually("executions are started", 30*time.Second, func() bool { return count() >= target || t.Failed() })
	}
	// Wait until every master trusts exactly these CAs and shows a certificate of the newest.
	trusted := func(n int) {
		t.Helper()
		c.Eventually(fmt.Sprintf("every master trusts %d CAs", n), 30*time.Second, func() bool {
			for i := range 3 {
				if len(scrapeOne(t, c, i)["scaleout_cert_expiry_timestamp_seconds"]["thumbprint"]) != n+1 {
					return false
				}
			}
			return true
		})
	}
	renewAll := func() {
		t.Helper()
		for _, folder := range c.CertificateFolders() {
			c.Renew(folder)
			flows()
		}
	}
	flows()
	old := c.Authority().Roots()[0]
	if err := c.Authority().Rotate(time.Now()); err != nil {
		t.Fatal(err)
	}
	renewAll()
	trusted(2)
	flows()
	retired, err := c.Authority().Retire()
	if err != nil || !retired.Equal(old) {
		t.Fatalf("retired %v, %v", retired, err)
	}
	renewAll()
	trusted(1)
	flows()
	leader := c.Leader()
	c.Stop(leader)
	flows()
	c.Restart(leader)
	stop.Store(true)
	group.Wait()
	t.Logf("%d executions during two renewals of everything", len(ids))
	for _, id := range ids {
		c.WaitStatus(id, 30*time.Second, int64(catalog.Succeeded))
	}
}

// A certificate that expires within 30 days is logged, and the metric that the alert reads shows the date.
func TestExpiryIsSaidInTime(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Settings(func(_ int, cfg *master.Config) { cfg.MetricsOpen = true }))
	issued, err := c.Authority().Issue(pki.Request{
		Role: pki.RoleMaster, Name: c.Name(0), Hosts: []string{"127.0.0.1", "localhost"}, Lifetime: 29 * 24 * time.Hour,
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := issued.WriteFiles(c.Certificates(0)); err != nil {
		t.Fatal(err)
	}
	ends := float64(issued.Leaf.NotAfter.Unix())
	c.Eventually("the metric", 20*time.Second, func() bool {
		return slices.Equal(scrapeValues(t, c, 0, "scaleout_cert_expiry_timestamp_seconds", "kind", "leaf"), []float64{ends})
	})
	c.Eventually("the warning", 20*time.Second, func() bool {
		raw, err := os.ReadFile(filepath.Join(c.Dir(), "test.log"))
		return err == nil && bytes.Contains(raw, []byte("certificate expires soon"))
	})
}
