package testcluster_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"scaleout/httpapi/client"
	"scaleout/testcluster"
)

// scriptProject is a cluster with the project F/P of shell packages, which write into a folder of the test.
type scriptProject struct {
	*testcluster.Cluster
	t   *testing.T
	dir string
}

// deployScripts deploys the packages. In a script DIR is the test's folder, and note appends a line to the log file:
// "word execution.attempt nanoseconds". A script that calls gate waits until the test opens that gate.
func deployScripts(t *testing.T, c *testcluster.Cluster, scripts map[string]string) *scriptProject {
	t.Helper()
	s := &scriptProject{Cluster: c, t: t, dir: t.TempDir()}
	const head = `note() { printf '%s %s %s\n' "$1" "$SCALEOUT_EXECUTION_ID.$SCALEOUT_ATTEMPT" "$(date +%s%N)" >> "DIR/log"; }
gate() { while ! [ -e "DIR/$1" ]; do sleep 0.05; done; }
`
	packages := map[string]string{}
	for name, text := range scripts {
		packages[name] = strings.ReplaceAll(head+text, "DIR", s.dir)
	}
	c.Deploy("F", "P", packages)
	return s
}

func (s *scriptProject) open(gate string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, gate), nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// note is one line of the packages' log.
type note struct {
	word, who string
	at        time.Time
}

func (s *scriptProject) notes() []note {
	s.t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	var out []note
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) != 3 || !strings.HasSuffix(line, "\n") {
			continue // the line is not complete yet
		}
		ns, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, note{f[0], f[1], time.Unix(0, ns)})
	}
	return out
}

// ran returns how often the attempts of an execution noted a word.
func (s *scriptProject) ran(id int64, word string) (n int) {
	s.t.Helper()
	for _, e := range s.notes() {
		if e.word == word && strings.HasPrefix(e.who, strconv.FormatInt(id, 10)+".") {
			n++
		}
	}
	return n
}

// spans returns the first and the last line of each attempt.
func (s *scriptProject) span(id int64, attempt int) (first, last time.Time) {
	s.t.Helper()
	for _, e := range s.notes() {
		if e.who == strconv.FormatInt(id, 10)+"."+strconv.Itoa(attempt) {
			if first.IsZero() {
				first = e.at
			}
			last = e.at
		}
	}
	return first, last
}

// start starts an execution of a package.
func (s *scriptProject) start(pkg string, retries int) int64 {
	s.t.Helper()
	return s.Run("F/P/"+pkg, retries, nil)
}

// startOn starts an execution that only the given workers may run.
func (s *scriptProject) startOn(pkg string, retries int, workers ...string) int64 {
	s.t.Helper()
	r := s.call("create_execution",
		map[string]any{"folder_name": "F", "project_name": "P", "package_name": pkg, "useanyworker": false})
	id, _ := r.Int("execution_id")
	for _, w := range workers {
		s.call("add_execution_worker", map[string]any{"execution_id": id, "workeragent_id": w})
	}
	s.Begin(id, retries)
	return id
}

func (s *scriptProject) call(procedure string, args map[string]any) client.Result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	r, err := s.Admin().Call(ctx, procedure, args)
	if err != nil {
		s.t.Fatalf("%s: %v", procedure, err)
	}
	return r
}

// rows returns all rows of a view, page by page.
func (s *scriptProject) rows(view string, equal map[string]any, order ...string) []client.Row {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	var out []client.Row
	q := client.Query{Equal: equal, Order: order, PageSize: 1000}
	for {
		page, err := s.Admin().View(ctx, view, q)
		if err != nil {
			s.t.Fatalf("%s: %v", view, err)
		}
		out = append(out, page.Rows...)
		if page.Next == "" {
			return out
		}
		q.PageToken = page.Next
	}
}

// attempts returns an execution's rows of the view tasks.
func (s *scriptProject) attempts(id int64) []client.Row {
	s.t.Helper()
	return s.rows("tasks", map[string]any{"execution_id": id})
}

// reason waits until the view tasks says why the execution waits, and returns the sentence.
func (s *scriptProject) reason(id int64, code string) string {
	s.t.Helper()
	var last client.Row
	s.Eventually("reason "+code, 20*time.Second, func() bool {
		rows := s.attempts(id)
		if len(rows) == 0 {
			return false
		}
		last = rows[len(rows)-1]
		return last.Text("reason") == code
	})
	return last.Text("reason_text")
}

// noReason checks that the view gives no reason for an execution that runs or has ended.
func (s *scriptProject) noReason(id int64) {
	s.t.Helper()
	for _, r := range s.attempts(id) {
		if r["reason"] != nil || r["reason_text"] != nil {
			s.t.Errorf("execution %d, attempt %v: reason %v (%v)", id, r["attempt"], r["reason"], r["reason_text"])
		}
	}
}

// texts returns the texts of an execution's messages.
func (s *scriptProject) texts(id int64) []string {
	s.t.Helper()
	var out []string
	for _, r := range s.rows("operation_messages", map[string]any{"operation_id": id}, "operation_message_id") {
		out = append(out, r.Text("message"))
	}
	return out
}

// once waits until an execution has succeeded, and checks that its package ran exactly once, in one attempt.
func (s *scriptProject) once(id int64) {
	s.t.Helper()
	row := s.WaitStatus(id, 30*time.Second, 7)
	if n, _ := row.Int("executed_count"); n != 1 {
		s.t.Errorf("execution %d took %d attempts", id, n)
	}
	if n := s.ran(id, "ran"); n != 1 {
		s.t.Errorf("execution %d ran %d times", id, n)
	}
}
