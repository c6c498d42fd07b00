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

// work is a package that records when it runs: it writes a line at its start, every 50 ms, and at its end. Two attempts
// of a task overlap if the first line of the later one is not after the last line of the earlier one.
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

// chaosLoad creates and starts executions and records which calls were acknowledged.
type chaosLoad struct {
	c     *testcluster.Cluster
	out   string
	stop  context.CancelFunc
	group sync.WaitGroup

	mu      sync.Mutex
	started []int64
	retried []int64 // those of them that may run again
	failed  int
}

func (l *chaosLoad) begin() {
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	for i := range 3 {
		l.group.Go(func() { l.run(ctx, i) })
	}
}

// acknowledged returns the executions whose start has been acknowledged by now.
func (l *chaosLoad) acknowledged() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.started)
}

func (l *chaosLoad) run(ctx context.Context, n int) {
	admin := l.c.Admin()
	for i := 0; ctx.Err() == nil; i++ {
		retry := i%4 == n
		id, err := l.startExecution(ctx, admin, retry)
		l.mu.Lock()
		switch {
		case err != nil:
			l.failed++
		case retry:
			l.retried = append(l.retried, id)
			fallthrough
		default:
			l.started = append(l.started, id)
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// startExecution creates and starts an execution. With retry it may run again after its attempt was lost.
func (l *chaosLoad) startExecution(ctx context.Context, admin *client.Client, retry bool) (int64, error) {
	r, err := admin.Call(ctx, "create_execution",
		map[string]any{"folder_name": "Chaos", "project_name": "Chaos", "package_name": "work.sh"})
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

// end waits until every acknowledged execution has ended, and compares the catalog with what the packages recorded.
func (l *chaosLoad) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.group.Wait()
	t.Logf("%d executions acknowledged, %d calls failed", len(l.started), l.failed)
	admin := l.c.Admin()
	// I3: every started task ends, or is reported lost, within a bound: the leases of its attempts and its retries. Each
	// counts again when leadership moves, as it does on a busy machine.
	for _, id := range l.started {
		row := l.c.WaitStatus(id, 3*time.Minute, 4, 6, 7) // I1: and none has disappeared
		status, _ := row.Int("status")
		attempts := recorded(t, filepath.Join(l.out, fmt.Sprint(id)))
		// I2: no two attempts overlap.
		for i := 1; i < len(attempts); i++ {
			if before, after := attempts[i-1], attempts[i]; after.first <= before.last {
				t.Errorf("execution %d: attempt %d began at %d, before the last sign of attempt %d at %d",
					id, after.number, after.first, before.number, before.last)
			}
		}
		for _, a := range attempts {
			if a.starts > 1 {
				t.Errorf("execution %d: attempt %d started %d times", id, a.number, a.starts)
			}
		}
		if len(attempts) > 1 && !slices.Contains(l.retried, id) {
			t.Errorf("execution %d, which must not be tried again, ran %d times", id, len(attempts))
		}
		page, err := admin.View(t.Context(), "tasks", client.Query{Equal: map[string]any{"execution_id": id}})
		if err != nil {
			t.Fatal(err)
		}
		// A package whose attempt succeeded in the catalog has written its last line. The reverse need not hold: an attempt
		// may end unheard if its guard and its worker die at that moment. Then it counts as lost, and another attempt follows
		// if retries are allowed.
		successes := 0
		for _, r := range page.Rows {
			if r.Text("outcome") != "succeeded" {
				continue
			}
			successes++
			number, _ := r.Int("attempt")
			i := slices.IndexFunc(attempts, func(a record) bool { return int64(a.number) == number })
			if i < 0 || !attempts[i].ended {
				t.Errorf("execution %d: attempt %d is said to have succeeded and has not ended", id, number)
			}
		}
		if status == 7 && successes != 1 || status != 7 && successes > 0 {
			t.Errorf("execution %d has status %d, and %d of its attempts succeeded", id, status, successes)
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
			continue // the package was killed while it wrote the line
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
