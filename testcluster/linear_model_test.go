package testcluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"scaleout/httpapi/client"
	"scaleout/testcluster"
)

// What a user or a worker asks of one execution, and the answer.
type (
	operation struct {
		kind    string // create, start, stop, grant, renew, finish, read
		id      int64
		worker  string
		attempt int
	}
	answer struct {
		unknown bool   // the caller got no answer
		code    string // of a refusal
		status  int64  // of read
		done    bool   // of renew and finish: renewed, settled; false: fenced
	}
)

// run is one execution in the model: without retries it has at most one attempt.
type run struct {
	status int64 // 0: it does not exist
	worker string
}

// The statuses of an execution.
const (
	created, running, canceled, failed, pending, unexpected, succeeded, stopping = 1, 2, 3, 4, 5, 6, 7, 8
)

// step returns whether the answer is possible in the state, and the next state.
func step(s run, in operation, out answer) (bool, run) {
	mine := s.status == running || s.status == stopping
	mine = mine && s.worker == in.worker && in.attempt == 1
	switch in.kind {
	case "create":
		return s.status == 0, run{status: created}
	case "read":
		return out.status == s.status, s
	case "start":
		next := s
		if s.status == created {
			next.status = pending
		}
		return out.unknown || (out.code == "") == (s.status == created), next
	case "stop":
		next := s
		switch s.status {
		case created, pending:
			next.status = canceled
		case running:
			next.status = stopping
		}
		return out.unknown || (out.code == "") == (next != s), next
	case "grant": // a repeated delivery of the same attempt to the same worker is not a second grant
		if s.status == pending && in.attempt == 1 {
			return true, run{running, in.worker}
		}
		return mine, s
	case "renew":
		return out.done == mine, s
	case "finish":
		next := s
		if mine {
			next.status = succeeded
		}
		again := s.status == succeeded && s.worker == in.worker && in.attempt == 1
		return out.unknown || out.done == (mine || again), next
	}
	return false, s
}

var executionModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[int64][]porcupine.Operation{}
		for _, o := range history {
			id := o.Input.(operation).id
			by[id] = append(by[id], o)
		}
		var out [][]porcupine.Operation
		for _, part := range by {
			out = append(out, part)
		}
		return out
	},
	Init: func() any { return run{} },
	Step: func(state, input, output any) (bool, any) {
		ok, next := step(state.(run), input.(operation), output.(answer))
		return ok, next
	},
	DescribeOperation: func(input, output any) string {
		in, out := input.(operation), output.(answer)
		return fmt.Sprintf("%s %d.%d %.4s: %+v", in.kind, in.id, in.attempt, in.worker, out)
	},
	DescribeState: func(state any) string { s := state.(run); return fmt.Sprintf("%d %.4s", s.status, s.worker) },
}

// history records operations by the clock of this process.
type history struct {
	begin time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func (h *history) now() int64 { return int64(time.Since(h.begin)) }

func (h *history) add(client int, in operation, call int64, out answer) {
	at := h.now()
	if out.unknown {
		at = 1 << 62 // it may take effect at any time from now on
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: at})
}

// check reads the final state of all known executions, as the last reads, and checks the whole history with the model.
// It saves a history that does not fit as a page for people. It returns how many operations of each kind there were.
func (h *history) check(t *testing.T, c *testcluster.Cluster, ids *sync.Map, reader int, name string) map[string]int {
	t.Helper()
	ends := 0
	for row, err := range c.Admin().Rows(t.Context(), "executions", client.Query{PageSize: 1000}) {
		must(t, err)
		id, _ := row.Int("execution_id")
		status, _ := row.Int("status")
		if _, known := ids.Load(id); known {
			at := h.now()
			h.add(reader, operation{kind: "read", id: id}, at, answer{status: status})
			ends++
		}
	}
	kinds := map[string]int{}
	ops := h.ops[:0:0]
	for _, o := range h.ops {
		in := o.Input.(operation)
		if _, known := ids.Load(in.id); !known {
			continue // created by a call that got no answer
		}
		ops = append(ops, o)
		kinds[in.kind]++
		if o.Output.(answer).unknown {
			kinds["unknown"]++
		}
	}
	t.Logf("%d operations on %d executions: %v", len(ops), ends, kinds)
	result, info := porcupine.CheckOperationsVerbose(executionModel, ops, time.Minute)
	if result != porcupine.Ok {
		file := filepath.Join(os.TempDir(), "scaleout-linear-"+name+".html")
		if err := porcupine.VisualizePath(executionModel, info, file); err != nil {
			t.Log(err)
		}
		t.Errorf("the history is %s; see %s", result, file)
	}
	return kinds
}
