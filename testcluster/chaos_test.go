package testcluster_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"scaleout/httpapi/client"
	"scaleout/testcluster"
)

// work is a package that records when it runs: a line at its start, every 50 ms, and at its end. Two attempts of a
// task overlap if the later one's first line is not after the earlier one's last.
const work = `say() { printf '%s %s %s %s\n' "$1" "$SCALEOUT_EXECUTION_ID" "$SCALEOUT_ATTEMPT" "$(date +%s%N)" >> "$PROJECT_PARAM_OUT/$SCALEOUT_EXECUTION_ID"; }
say start
i=0
while [ $i -lt "$PARAM_BEATS" ]; do sleep 0.05; say beat; i=$((i+1)); done
say end
`

const chaosDefinition = `name: Chaos
parameters:
  - {name: Out, type: String, required: true}
packages:
  - name: work.sh
    parameters:
      - {name: Beats, type: Int32, default: 4}
`

// Seeds that found something, kept, and a few that found nothing.
var chaosSeeds = []uint64{1, 2}

// TestChaos is a random walk of harm under load. SCALEOUT_CHAOS=1h runs new seeds for an hour; SCALEOUT_CHAOS_SEED=n
// replays one.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	if text := os.Getenv("SCALEOUT_CHAOS_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(text, func(t *testing.T) { chaos(t, seed, 60*time.Second) })
		return
	}
	if text := os.Getenv("SCALEOUT_CHAOS"); text != "" {
		length, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(length)
		for seed := uint64(time.Now().UnixNano()); time.Now().Before(end) && !t.Failed(); seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) { chaos(t, seed, 60*time.Second) })
		}
		return
	}
	for _, seed := range chaosSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { chaos(t, seed, 12*time.Second) })
	}
}

// chaos breaks a cluster of three masters and two workers for a while under load and checks the invariants.
func chaos(t *testing.T, seed uint64, length time.Duration) {
	clocks, clock := testcluster.Clocks()
	c := testcluster.Start(t, 3, clocks)
	out := t.TempDir()
	c.DeployFile("Chaos", "Chaos", c.Pack(chaosDefinition, map[string]string{"work.sh": work}))
	nemesis := testcluster.NewNemesis(c, seed, clock)
	for range 2 {
		nemesis.Workers = append(nemesis.Workers, c.Worker(testcluster.WorkerConfig{Process: true, MaxTaskCount: 6}))
	}
	load := &chaosLoad{c: c, out: out}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() { load.run(ctx, i) })
	}
	for end := time.Now().Add(length); time.Now().Before(end); {
		nemesis.Step()
		c.Revive()
	}
	stop()
	group.Wait()
	c.Heal()
	c.Revive()
	c.Leader()
	t.Logf("seed %d: %d executions acknowledged, %d calls failed\n%s", seed, len(load.started), load.failed, nemesis.Log())
	load.check(t)
}

// chaosLoad creates and starts executions and remembers which were acknowledged.
type chaosLoad struct {
	c   *testcluster.Cluster
	out string

	mu      sync.Mutex
	started []int64
	failed  int
}

func (l *chaosLoad) run(ctx context.Context, n int) {
	admin := l.c.Admin()
	for i := 0; ctx.Err() == nil; i++ {
		id, err := l.one(ctx, admin, i%4 == n)
		l.mu.Lock()
		if err != nil {
			l.failed++
		} else {
			l.started = append(l.started, id)
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// one creates and starts an execution; some may be retried, and so lost and run again.
func (l *chaosLoad) one(ctx context.Context, admin *client.Client, retry bool) (int64, error) {
	r, err := admin.Call(ctx, "create_execution", map[string]any{"folder_name": "Chaos", "project_name": "Chaos", "package_name": "work.sh"})
	if err != nil {
		return 0, err
	}
	id, _ := r.Int("execution_id")
	set := func(kind int, name string, value any) error {
		_, err := admin.Call(ctx, "set_execution_parameter_value", map[string]any{
			"execution_id": id, "object_type": kind, "parameter_name": name, "parameter_value": value,
		})
		return err
	}
	if err := set(20, "Out", l.out); err != nil {
		return 0, err
	}
	retries := 0
	if retry {
		retries = 2
		if err := set(30, "Beats", 60); err != nil {
			return 0, err
		}
	}
	_, err = admin.Call(ctx, "start_execution", map[string]any{"execution_id": id, "retry_count": retries})
	return id, err
}

// check waits until every acknowledged execution has ended and compares what the catalog says with what the packages
// recorded.
func (l *chaosLoad) check(t *testing.T) {
	t.Helper()
	admin := l.c.Admin()
	// I3: every started task ends, or is reported lost, within its bound: the terms of its attempts and their retries.
	for _, id := range l.started {
		row := l.c.WaitStatus(id, 90*time.Second, 4, 6, 7) // I1: and none has disappeared
		status, _ := row.Int("status")
		attempts := recorded(t, filepath.Join(l.out, fmt.Sprint(id)))
		// I2: no two attempts overlap.
		for i := 1; i < len(attempts); i++ {
			if before, after := attempts[i-1], attempts[i]; after.first <= before.last {
				t.Errorf("execution %d: attempt %d began at %d, before the last sign of attempt %d at %d",
					id, after.number, after.first, before.number, before.last)
			}
		}
		ends := 0
		for _, a := range attempts {
			if a.starts > 1 {
				t.Errorf("execution %d: attempt %d started %d times", id, a.number, a.starts)
			}
			if a.ended {
				ends++
			}
		}
		page, err := admin.View(t.Context(), "tasks", client.Query{Equal: map[string]any{"execution_id": id}})
		if err != nil {
			t.Fatal(err)
		}
		// I4: what the catalog calls lost stays lost, and what it calls succeeded has ended by the package's own word.
		for _, r := range page.Rows {
			number, _ := r.Int("attempt")
			i := slices.IndexFunc(attempts, func(a record) bool { return int64(a.number) == number })
			if r.Text("outcome") == "succeeded" && (i < 0 || !attempts[i].ended) {
				t.Errorf("execution %d: attempt %d is said to have succeeded and has not ended", id, number)
			}
		}
		if status == 7 && ends != 1 {
			t.Errorf("execution %d succeeded, and %d of its attempts ran to their end", id, ends)
		}
	}
}

// record is what one attempt wrote about itself.
type record struct {
	number      int
	starts      int
	first, last int64
	ended       bool
}

func recorded(t *testing.T, path string) []record {
	t.Helper()
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []record
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) != 4 {
			continue // killed while it wrote
		}
		number, err := strconv.Atoi(words[2])
		if err != nil {
			t.Fatal(err)
		}
		at, err := strconv.ParseInt(words[3], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(out, func(r record) bool { return r.number == number })
		if i < 0 {
			i = len(out)
			out = append(out, record{number: number, first: at})
		}
		r := &out[i]
		r.last = max(r.last, at)
		r.ended = r.ended || words[0] == "end"
		if words[0] == "start" {
			r.starts++
		}
	}
	return out
}
