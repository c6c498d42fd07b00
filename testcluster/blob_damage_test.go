package testcluster_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scaleout/testcluster"
)

// A flipped bit in a copy of a project file is found before anybody gets the file, and is repaired from another copy:
// packages run at the first attempt, downloads return what was uploaded, and the operator is informed.
func TestADamagedProjectFileStopsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	for _, x := range []struct {
		name    string
		damaged func(leader int, others []int) []int
		restart bool // the masters have verified none of their files since their start
	}{
		{"the leader's", func(leader int, _ []int) []int { return []int{leader} }, false},
		{"two of three", func(leader int, others []int) []int { return []int{leader, others[0]} }, false},
		{"two of three, before they start", func(leader int, others []int) []int { return []int{leader, others[0]} }, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			c := testcluster.Start(t, 3)
			content := c.Pack("name: Job\npackages:\n  - name: a.sh\n",
				map[string]string{"a.sh": "true\n" + strings.Repeat("# a comment\n", 1000)})
			c.DeployFile("ETL", "Job", content)
			sum := sha256.Sum256(content)
			digest := hex.EncodeToString(sum[:])
			file := func(i int) string { return filepath.Join(c.Data(i), "blobs", digest[:2], digest) }
			right := func(i int) bool {
				got, err := os.ReadFile(file(i))
				return err == nil && bytes.Equal(got, content)
			}
			c.Eventually("all hold it", 20*time.Second, func() bool { return right(0) && right(1) && right(2) })

			leader := c.Leader()
			damaged := x.damaged(leader, c.Others(leader))
			for n, i := range damaged {
				if x.restart {
					c.Kill(i)
				}
				flipBit(t, file(i), int64(20+300*n))
				if x.restart {
					c.Restart(i)
					c.Leader()
				}
			}
			var got *bytes.Buffer
			ask := func(i int) error {
				_, err := c.Client(i).GetBlob(t.Context(), digest,
					func() (io.Writer, error) { got = new(bytes.Buffer); return got, nil })
				return err
			}
			for i := range 3 {
				c.Eventually("master "+c.Name(i)+" serves it", 20*time.Second, func() bool {
					err := ask(i)
					if err != nil {
						t.Logf("%s: %v", c.Name(i), err)
					}
					return err == nil
				})
				if !bytes.Equal(got.Bytes(), content) {
					t.Errorf("%s gave something else", c.Name(i))
				}
			}
			leader = c.Leader()
			flipBit(t, file(leader), 100) // an earlier verification is not trusted
			c.DeployFile("ETL", "Job", content)
			c.Worker(testcluster.WorkerConfig{})
			id := c.Run("ETL/Job/a.sh", 0, nil)
			if n, _ := c.WaitStatus(id, 30*time.Second, 7).Int("executed_count"); n != 1 {
				t.Errorf("%d attempts", n)
			}
			c.Eventually("every copy is right again", 20*time.Second, func() bool {
				if c.Leader() != leader { // the deploy read another copy: before the scrub nobody reads this one unless asked
					_ = ask(leader)
				}
				return right(0) && right(1) && right(2)
			})
			c.Eventually("the operator is told", 20*time.Second, func() bool {
				s, err := c.Admin().Cluster(t.Context())
				if err != nil {
					return false
				}
				found, warned := 0, strings.Contains(strings.Join(s.Warnings, "\n"), "damaged")
				for _, m := range s.Members {
					found += m.DamagedBlobs
				}
				return found >= len(damaged) && warned
			})
		})
	}
}

func flipBit(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	must(t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b[:], at)
	must(t, err)
}
