package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

func TestOrderIsParsedBeforeAnythingIsAsked(t *testing.T) {
	o := &order{params: []string{"Day=2026-01-31", "Note=a=b"}, projectParams: []string{"Server="},
		options: []string{"LOGGING_LEVEL=3"}}
	if err := o.parse("ETL/Sales/sub/Load.dtsx"); err != nil {
		t.Fatal(err)
	}
	want := []assignment{{30, "Day", "2026-01-31", plain}, {30, "Note", "a=b", plain}, {20, "Server", "", plain},
		{50, "LOGGING_LEVEL", "3", plain}}
	if o.folder != "ETL" || o.project != "Sales" || o.pkg != "sub/Load.dtsx" || !slices.Equal(o.values, want) {
		t.Fatalf("%+v", o)
	}
	o = &order{queueTimeout: 90 * time.Second, runTimeout: 1500 * time.Millisecond}
	bounds := []assignment{{50, "QUEUE_TIMEOUT", "90", plain}, {50, "RUN_TIMEOUT", "2", plain}}
	if err := o.parse("a/b/c"); err != nil || !slices.Equal(o.values, bounds) {
		t.Errorf("%+v, %v", o.values, err)
	}
	for _, bad := range []*order{{queueTimeout: -time.Second}, {runTimeout: -1}, {params: []string{""}},
		{options: []string{"=3"}}, {params: []string{"Day=@"}}} {
		var usage *usageError
		if err := bad.parse("a/b/c"); !errors.As(err, &usage) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, path := range []string{"", "a", "a/b", "a//c", "/b/c", "a/b/"} {
		var usage *usageError
		if err := (&order{}).parse(path); !errors.As(err, &usage) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestParameterValuesHaveTheirDeclaredType(t *testing.T) {
	for _, x := range []struct{ dataType, text, want string }{
		{"Int32", "12", "12"}, {"Int64", "9007199254740993", "9007199254740993"}, {"Double", "1.5e3", "1.5e3"},
		{"Decimal", "0.10", "0.10"}, {"Int32", "12x", `"12x"`}, {"Int32", "", `""`}, {"Int32", "1 2", `"1 2"`},
		{"Int32", "true", `"true"`},
		{"Boolean", "True", "true"}, {"Boolean", "0", "false"}, {"Boolean", "yes", `"yes"`},
		{"String", "12", `"12"`}, {"String", "null", `"null"`}, {"String", `{"a":1}`, `"{\"a\":1}"`},
		{"DateTime", "2026-01-31", `"2026-01-31"`},
		{"", "3", "3"}, {"", "true", "true"}, {"", "abc", `"abc"`}, {"", "null", `"null"`}, {"", "[1]", `"[1]"`},
	} {
		got, err := json.Marshal(parameterValue(x.dataType, x.text))
		if err != nil || string(got) != x.want {
			t.Errorf("%s %q: %s, want %s (%v)", x.dataType, x.text, got, x.want, err)
		}
	}
}

func TestStatusNames(t *testing.T) {
	for text, want := range map[string]catalog.Status{"7": 7, "succeeded": 7, "Failed": 4, "ended_unexpectedly": 6,
		"ended-unexpectedly": 6, "unexpected": 6} {
		if got, err := statusNumber(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "0", "10", "done", "-1"} {
		if n, err := statusNumber(bad); err == nil {
			t.Errorf("%q was taken as %d", bad, n)
		}
	}
}

// withOrders answers what an order needs, and gives executions the id 17.
func withOrders(refuse string) *fakeMaster {
	one := func(row map[string]any) func(*http.Request) ([]map[string]any, string) {
		return func(*http.Request) ([]map[string]any, string) { return []map[string]any{row}, "" }
	}
	return &fakeMaster{
		views: map[string]func(*http.Request) ([]map[string]any, string){
			"folders":  one(map[string]any{"folder_id": 1, "name": "ETL"}),
			"projects": one(map[string]any{"project_id": 2, "name": "Sales"}),
			"object_parameters": func(*http.Request) ([]map[string]any, string) {
				return []map[string]any{
					{"object_type": 20, "object_name": "Sales", "parameter_name": "Limit", "data_type": "Int32"},
					{"object_type": 30, "object_name": "Load.dtsx", "parameter_name": "Code", "data_type": "String"},
					{"object_type": 30, "object_name": "Other.dtsx", "parameter_name": "Code", "data_type": "Int32"},
				}, ""
			},
			"packages": func(*http.Request) ([]map[string]any, string) {
				return []map[string]any{
					{"name": "Load.dtsx", "entry_point": true}, {"name": "Other.dtsx", "entry_point": true},
					{"name": "Part.dtsx", "entry_point": false},
				}, ""
			},
			"worker_agents": one(map[string]any{"WorkerAgentId": "AA", "CertificateName": "worker-1"}),
			"executions":    one(map[string]any{"execution_id": 17, "status": 1}),
		},
		call: func(c fakeCall) (map[string]any, *wire.Problem) {
			if c.procedure == refuse {
				return nil, &wire.Problem{Status: 422, Code: "refused", Detail: "no"}
			}
			return map[string]any{"execution_id": 17}, nil
		},
	}
}

func TestOrderSetsTypedValuesAndWorkers(t *testing.T) {
	f := withOrders("")
	o := &order{
		params: []string{"code=007"}, projectParams: []string{"LIMIT=5"}, workers: []string{"worker-1"}, key: "nightly",
	}
	if err := o.parse("ETL/Sales/load.dtsx"); err != nil {
		t.Fatal(err)
	}
	c := f.client(t)
	id, err := o.create(t.Context(), c)
	if err != nil || id != 17 {
		t.Fatal(id, err)
	}
	if err := o.start(t.Context(), c, id, 2); err != nil {
		t.Fatal(err)
	}
	var got []string
	keys := map[string]bool{}
	for _, c := range f.calls {
		b, _ := json.Marshal(c.args)
		got = append(got, c.procedure+" "+string(b))
		if !strings.HasPrefix(c.key, "nightly/") || keys[c.key] {
			t.Errorf("%s has the key %q", c.procedure, c.key)
		}
		keys[c.key] = true
	}
	want := []string{
		`create_execution ` +
			`{"folder_name":"ETL","package_name":"load.dtsx","project_name":"Sales","runinscaleout":true,` +
			`"use32bitruntime":false,"useanyworker":false}`,
		`set_execution_parameter_value {"execution_id":17,"object_type":30,"parameter_name":"code","parameter_value":"007"}`,
		`set_execution_parameter_value {"execution_id":17,"object_type":20,"parameter_name":"LIMIT","parameter_value":5}`,
		`add_execution_worker {"execution_id":17,"workeragent_id":"AA"}`,
		`start_execution {"execution_id":17,"retry_count":2}`,
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestHalfAnOrderIsTakenBack(t *testing.T) {
	for key, stops := range map[string]int{"": 1, "mine": 0} {
		f := withOrders("set_execution_parameter_value")
		o := &order{params: []string{"Code=1"}, key: key}
		if err := o.parse("ETL/Sales/Load.dtsx"); err != nil {
			t.Fatal(err)
		}
		if _, err := o.create(t.Context(), f.client(t)); !code(err, "refused") {
			t.Fatal(err)
		}
		n := 0
		for _, c := range f.calls {
			if c.procedure == "stop_operation" {
				n++
			}
		}
		if n != stops {
			t.Errorf("key %q: %d stops, want %d", key, n, stops)
		}
	}
}

func TestAnExecutionThatIsNotThereCannotBeStopped(t *testing.T) {
	for _, line := range []string{"execution stop 999", "execution stop 999 --wait"} {
		f := &fakeMaster{call: func(fakeCall) (map[string]any, *wire.Problem) {
			return nil, &wire.Problem{Status: http.StatusNotFound, Code: command.CodeOperationNotFound,
				Detail: "there is no operation 999"}
		}}
		code, _, errs := f.on(t, show.Screen{}, strings.Fields(line)...)
		if code != exitError || !strings.Contains(errs, "there is no execution 999") {
			t.Errorf("%s: exit %d: %s", line, code, errs)
		}
	}
}

// story is an execution whose status goes on with each look.
func story(statuses ...int) *fakeMaster {
	i := 0
	return &fakeMaster{views: map[string]func(*http.Request) ([]map[string]any, string){
		"executions": func(*http.Request) ([]map[string]any, string) {
			s := statuses[min(i, len(statuses)-1)]
			i++
			return []map[string]any{{"execution_id": 17, "status": s, "executed_count": 1, "machine_name": "m1"}}, ""
		},
		"tasks": func(*http.Request) ([]map[string]any, string) { return nil, "" },
		"operation_messages": func(*http.Request) ([]map[string]any, string) {
			return []map[string]any{{"message": "broken", "message_source_type": 20}}, ""
		},
	}}
}

func TestWaitEndsWithTheResult(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		statuses []int
		down     int
		code     int
		says     string
	}{
		{[]int{5, 2, 7}, 0, exitOK, "running on m1"},
		{[]int{2, 4}, 0, exitFailed, "broken"},
		{[]int{6}, 0, exitFailed, "broken"},
		{[]int{2, 8, 3}, 0, exitCanceled, "stopping"},
		{[]int{2, 7}, 40, exitOK, "no leader answers"},
	} {
		f := story(x.statuses...)
		f.down = x.down
		if x.down > 0 {
			f.timeout = 20 * time.Millisecond // its end is what the test is about
		}
		out, errs := new(bytes.Buffer), new(bytes.Buffer)
		root := &cobra.Command{SilenceErrors: true, SilenceUsage: true, RunE: func(cmd *cobra.Command, _ []string) error {
			return (&app{output: "json"}).await(cmd, f.client(t), 17, 0)
		}}
		root.SetOut(out)
		root.SetErr(errs)
		root.SetArgs([]string{})
		if code := run(t.Context(), root); code != x.code || !strings.Contains(errs.String(), x.says) {
			t.Errorf("%v: code %d, stderr %s", x.statuses, code, errs)
		}
		var result map[string]any
		if err := json.Unmarshal(out.Bytes(), &result); err != nil ||
			result["status"] != catalog.Status(x.statuses[len(x.statuses)-1]).String() {
			t.Errorf("%v: stdout %s", x.statuses, out)
		}
	}
}

func TestWaitTimesOut(t *testing.T) {
	f := story(2)
	root := &cobra.Command{SilenceErrors: true, SilenceUsage: true, RunE: func(cmd *cobra.Command, _ []string) error {
		return (&app{}).await(cmd, f.client(t), 17, 50*time.Millisecond)
	}}
	errs := new(bytes.Buffer)
	root.SetErr(errs)
	root.SetArgs([]string{})
	if code := run(t.Context(), root); code != exitTimedOut || !strings.Contains(errs.String(), "goes on") {
		t.Fatalf("%d %s", code, errs)
	}
}

func TestExitCodes(t *testing.T) {
	for _, x := range []struct {
		err  error
		code int
	}{
		{nil, exitOK}, {errors.New("x"), exitError}, {usagef("x"), exitUsage}, {fmt.Errorf("a: %w", usagef("x")), exitUsage},
		{&statusError{code: exitFailed}, exitFailed}, {client.ErrUnreachable, exitUnreachable},
		{friendly(&client.Error{Code: wire.CodeNoLeader, Detail: "nobody"}), exitUnreachable},
		{friendly(&client.Error{Code: "folder_not_found", Detail: "no"}), exitError},
	} {
		root := &cobra.Command{SilenceErrors: true, SilenceUsage: true,
			RunE: func(*cobra.Command, []string) error { return x.err }}
		root.SetErr(new(bytes.Buffer))
		root.SetArgs([]string{})
		if code := run(context.Background(), root); code != x.code {
			t.Errorf("%v: %d, want %d", x.err, code, x.code)
		}
	}
}

// pages is a view of messages that grows: the rows behind the token's, at most two a page.
type pages struct{ rows []map[string]any }

func (p *pages) view(r *http.Request) ([]map[string]any, string) {
	from := 0
	_, _ = fmt.Sscan(r.URL.Query().Get("page_token"), &from)
	to := min(from+2, len(p.rows))
	next := ""
	if to < len(p.rows) {
		next = fmt.Sprint(to)
	}
	return p.rows[from:to], next
}

// Messages come in order and each once, and of an execution that has ended those that its worker has announced are
// waited for, also when they come after its end.
func TestLogsShowEachMessageOnceAndInOrder(t *testing.T) {
	t.Parallel()
	for _, follow := range []bool{true, false} {
		t.Run(fmt.Sprint("follow ", follow), func(t *testing.T) {
			t.Parallel()
			var p pages
			say := func(n int) {
				for range n {
					p.rows = append(p.rows, map[string]any{"operation_message_id": 10 + len(p.rows),
						"message": fmt.Sprint("line ", len(p.rows))})
				}
			}
			looks := 0
			f := &fakeMaster{views: map[string]func(*http.Request) ([]map[string]any, string){
				"operation_messages": func(r *http.Request) ([]map[string]any, string) {
					switch looks++; looks {
					case 4:
						say(4)
					case 8:
						say(1) // after its end
					}
					return p.view(r)
				},
			}, messages: func() *wire.MessagesState {
				s := &wire.MessagesState{Ended: !follow || looks > 5}
				if s.Ended {
					s.Missing = int64(8 - len(p.rows))
				}
				s.Complete = s.Ended && s.Missing == 0
				return s
			}}
			say(3)
			var got []string
			r := &logReader{c: f.client(t), id: 17, follow: follow, late: time.Minute}
			if err := r.all(t.Context(), func(m client.Row) error {
				got = append(got, m.Text("message"))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			var want []string
			for i := range 8 {
				want = append(want, fmt.Sprint("line ", i))
			}
			if !slices.Equal(got, want) {
				t.Fatalf("got %q", got)
			}
			if !r.state.Complete {
				t.Errorf("%+v", r.state)
			}
		})
	}
}

// Logs say what is missing of an ended execution: its exit code tells scripts when something may still come.
func TestLogsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		state wire.MessagesState
		says  string
		code  int
	}{
		{"complete", wire.MessagesState{Ended: true, Complete: true}, "", exitOK},
		{"still running", wire.MessagesState{Missing: 3}, "", exitOK},
		{"announced and not come", wire.MessagesState{Ended: true, Missing: 37},
			"37 messages of execution 17 have not come in yet", exitTimedOut},
		{"worker lost", wire.MessagesState{Ended: true, LostAttempts: 1}, "1 attempt lost with the worker", exitOK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := &fakeMaster{views: map[string]func(*http.Request) ([]map[string]any, string){
				"operation_messages": func(*http.Request) ([]map[string]any, string) { return nil, "" },
			}, messages: func() *wire.MessagesState { return &tc.state }}
			r := &logReader{c: f.client(t), id: 17, late: time.Nanosecond}
			if err := r.all(t.Context(), func(client.Row) error { return nil }); err != nil {
				t.Fatal(err)
			}
			var stderr strings.Builder
			cmd := &cobra.Command{}
			cmd.SetErr(&stderr)
			err := r.incomplete(cmd)
			code := exitOK
			var status *statusError
			if errors.As(err, &status) {
				code = status.code
			}
			if text := stderr.String() + fmt.Sprint(err); code != tc.code || !strings.Contains(text, tc.says) {
				t.Errorf("exit %d: %s", code, text)
			}
		})
	}
}

// Without a terminal a state is told of once, however its numbers change from second to second.
func TestOneLineForEachState(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, 17)
	pending, running := client.Row{"status": json.Number("5")}, client.Row{"status": json.Number("2"),
		"worker_name": "worker-1"}
	p.show(pending, waitingFor{})
	for s := 9; s > 0; s-- {
		p.show(pending, waitingFor{"retry_wait", fmt.Sprintf("attempt 2 starts in %ds", s)})
	}
	p.show(pending, waitingFor{"workers_busy", "all workers run as much as they may: worker-1 (3 of 4)"})
	p.show(pending, waitingFor{"workers_busy", "all workers run as much as they may: worker-1 (4 of 4)"})
	for range 3 {
		p.show(running, waitingFor{})
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		got = append(got, text)
	}
	want := []string{
		"execution 17 pending", "execution 17 pending: attempt 2 starts in 9s",
		"execution 17 pending: all workers run as much as they may: worker-1 (3 of 4)", "execution 17 running on worker-1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestWaitingFlags(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"execution run a/b/c --timeout 5m", "--timeout bounds --wait"},
		{"execution start 17 --timeout 5m", "--timeout bounds --wait"},
		{"execution stop 17 --timeout 5m", "--timeout bounds --wait"},
		{"execution run a/b/c --wait --timeout -1s", "--timeout -1s"},
		{"execution start 17 --wait --timeout -1s", "--timeout -1s"}, {"execution wait 17 --timeout -1s", "--timeout -1s"},
		{"execution run a/b/c --retry -1", "--retry -1: want 0 to 100"},
		{"execution start 17 --retry -1", "--retry -1: want 0 to 100"},
	} {
		t.Run(c.line, func(t *testing.T) {
			if code, out, errs := (&fakeMaster{}).on(t, show.Screen{}, strings.Fields(c.line)...); code != exitUsage ||
				!strings.Contains(errs, c.want) {
				t.Errorf("exit %d, %q, %q", code, out, errs)
			}
		})
	}
}
