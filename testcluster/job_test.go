package testcluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scaleout/fsm/ispac"
	"scaleout/testcluster"
)

// A killed leader loses nothing, and nothing runs twice.
func TestExecutionsSurviveTheLeadersDeath(t *testing.T) {
	c := testcluster.Start(t, 3)
	ran := filepath.Join(t.TempDir(), "ran")
	c.Deploy("ETL", "Jobs", map[string]string{
		"work.sh": "echo started\nsleep 0.2\necho $SCALEOUT_EXECUTION_ID.$SCALEOUT_ATTEMPT >> \"$PROJECT_PARAM_OUT\"\n",
	}, ispac.ParameterDefinition{Name: "Out", Type: "String", Required: true})
	for range 2 {
		c.Worker(testcluster.WorkerConfig{})
	}
	const n = 30
	var ids []int64
	for i := range n {
		if i == n/2 {
			c.Kill(c.Leader())
		}
		ids = append(ids, c.Run("ETL/Jobs/work.sh", 0, map[string]any{"Out": ran}))
	}
	for _, id := range ids {
		c.WaitStatus(id, 30*time.Second, 7)
	}
	raw, err := os.ReadFile(ran)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(raw))
	seen := map[string]bool{}
	for _, l := range lines {
		if seen[l] {
			t.Errorf("%s ran twice", l)
		}
		seen[l] = true
	}
	if len(lines) != n {
		t.Errorf("%d runs of %d executions", len(lines), n)
	}
}
