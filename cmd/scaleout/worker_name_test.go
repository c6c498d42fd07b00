package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"scaleout/fsm/sqltype"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// workersView filters rows of worker_agents as masters do, and notes what was asked for.
func workersView(asked *[]string, rows ...map[string]any) *fakeMaster {
	return &fakeMaster{views: map[string]func(*http.Request) ([]map[string]any, string){
		"worker_agents": func(r *http.Request) (found []map[string]any, next string) {
			q := r.URL.Query()
			q.Del("page_size")
			*asked = append(*asked, q.Encode())
			for _, row := range rows {
				fits := true
				for column := range q {
					have, _ := row[column].(string)
					fits = fits && sqltype.EqualText(have, q.Get(column))
				}
				if fits {
					found = append(found, row)
				}
			}
			return found, ""
		},
	}}
}

// A worker chooses its display name; only its certificate's name and its AgentId say who it is.
func TestWorkersAreNamedByTheirCertificates(t *testing.T) {
	row := func(id, certificate, display, machine string) map[string]any {
		return map[string]any{"WorkerAgentId": id, "CertificateName": certificate, "DisplayName": display,
			"MachineName": machine}
	}
	const b1 = "B1B1B1B1-0000-0000-0000-000000000000"
	rows := []map[string]any{
		row("A1", "etl-1", "etl-1", "host1"), row(b1, "stranger", "etl-1", "host1"), row("B2", "stranger", "etl-2", "host2"),
		row("C1", "etl-2", "", ""), row("D1", "plain", "payroll", "host9"),
	}
	for _, test := range []struct{ name, arg, id, says string }{
		{"certificate", "etl-1", "A1", ""},
		{"certificate in another case", "ETL-2", "C1", ""},
		{"certificate with blanks behind it", "etl-2  ", "C1", ""},
		{"id", b1, b1, ""},
		{"id in braces", "{" + strings.ToLower(b1) + "}", b1, ""},
		{"id that is not there", "00000000-0000-0000-0000-000000000000", "", "there is no worker"},
		{"certificate of two workers", "stranger", "", "2 workers use the certificate"},
		{"display name", "payroll", "", `D1 (certificate "plain", machine "host9")`},
		{"machine", "host1", "", b1 + " "},
		{"typo", "etl-11", "", "did you mean etl-1?"},
		{"nothing like it", "nobody", "", "there is no worker"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var asked []string
			id, err := workerID(t.Context(), workersView(&asked, rows...).client(t), test.arg)
			if id != test.id || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Fatal(id, err)
			}
			for _, q := range asked {
				if id != "" && q == "" {
					t.Errorf("all workers were read: %q", asked)
				}
			}
		})
	}
}

func TestWorkerLabelsAskOnce(t *testing.T) {
	var asked []string
	f := workersView(&asked, map[string]any{"WorkerAgentId": "A1", "CertificateName": "etl-1"})
	labels := newWorkerLabels(f.client(t))
	for _, test := range []struct{ id, want string }{{"A1", "etl-1"}, {"", ""}, {"B1", ""}, {"B1", ""}, {"A1", "etl-1"}} {
		if got := labels.name(t.Context(), test.id); got != test.want {
			t.Errorf("%s is %q", test.id, got)
		}
	}
	if got := strings.Join(asked, " "); got != " WorkerAgentId=B1" {
		t.Errorf("asked for %q", got)
	}
}

func TestWorkerLabelsWithoutTheRightToReadThem(t *testing.T) {
	n := 0
	f := &fakeMaster{pages: map[string]func(http.ResponseWriter, *http.Request){
		"/v1/catalog/views/worker_agents": func(w http.ResponseWriter, _ *http.Request) {
			n++
			problem(w, wire.Problem{Status: http.StatusForbidden, Code: wire.CodeForbidden})
		},
	}}
	c := f.client(t)
	labels := newWorkerLabels(c)
	for range 3 {
		if got := labels.name(t.Context(), "A1"); got != "" {
			t.Error(got)
		}
	}
	if n != 1 {
		t.Errorf("asked %d times", n)
	}
	if _, err := workerID(t.Context(), c, "etl-1"); !errors.As(err, new(*client.Error)) {
		t.Error(err)
	}
}
