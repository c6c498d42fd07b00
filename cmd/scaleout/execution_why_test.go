package main

import (
	"encoding/json"
	"strings"
	"testing"

	"scaleout/httpapi/client"
)

func row(t *testing.T, text string) client.Row {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var r client.Row
	if err := dec.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhySaysItInSentences(t *testing.T) {
	execution := func(status string) client.Row {
		return row(t, `{"execution_id":17,"folder_name":"ETL","project_name":"Sales","package_name":"load.sh",
			"caller_name":"anna","created_time":"2026-01-31T10:00:00.0000000Z","status":`+status+
			`,"stopped_by_name":"bert","executed_count":2,"machine_name":"m1"}`)
	}
	attempt := func(status, more string) client.Row {
		return row(t, `{"attempt":1,"status":"`+status+
			`","worker_agent_id":"W","machine":"m1","granted":"2026-01-31T10:00:01.0000000Z",`+
			`"ended":"2026-01-31T10:00:02.0000000Z"`+more+`}`)
	}
	workers := map[string]string{"W": "worker-1"}
	for name, x := range map[string]struct {
		f    explanation
		want []string
	}{
		"created": {explanation{execution: execution("1")},
			[]string{"is created.", "'scaleout execution start 17' starts it"}},
		"pending": {
			explanation{execution: execution("5"),
				attempts: []client.Row{row(t, `{"attempt":1,"status":"pending","reason":"no_worker_enabled","reason_text":"no `+
					`worker is enabled"}`)}},
			[]string{"Attempt 1 waits: no worker is enabled (no_worker_enabled).", "scaleout worker enable"},
		},
		"pending, reason unknown": {explanation{execution: execution("5"),
			attempts: []client.Row{row(t, `{"attempt":1,"status":"pending"}`)}}, []string{"not said why yet"}},
		"running": {
			explanation{execution: execution("2"), workers: workers,
				attempts: []client.Row{attempt("running", `,"lease_until":"2026-01-31T10:09:00.0000000Z"`)}},
			[]string{"Attempt 1 runs on worker-1 since 2026-01-31T10:00:01Z; its lease runs until 2026-01-31T10:09:00Z"},
		},
		"silent": {
			explanation{execution: execution("2"), workers: workers,
				attempts: []client.Row{attempt("running",
					`,"reason":"silent","reason_text":"worker worker-1 is silent since T, attempt 1 is lost at T2"`)}},
			[]string{"is silent since T, attempt 1 is lost at T2."},
		},
		"failed": {
			explanation{execution: execution("4"), workers: workers,
				attempts: []client.Row{attempt("failed", `,"exit_code":3,"message":"exit code 3"`)},
				errors:   []client.Row{row(t, `{"message_time":"2026-01-31T10:00:02.0000000Z","message":"no such table"}`)}},
			[]string{"Attempt 1 failed on worker-1 at 2026-01-31T10:00:02Z, granted at 2026-01-31T10:00:01Z, exit code 3.",
				"No attempt is left.", "no such table"},
		},
		"lost": {
			explanation{execution: execution("6"), attempts: []client.Row{attempt("lost", `,"message":"silent since then"`)}},
			[]string{"was lost on m1", "silent since then.", "check what the package did"},
		},
		"canceled":  {explanation{execution: execution("3")}, []string{"was canceled.", "bert stopped it."}},
		"forgotten": {explanation{execution: execution("4")}, []string{"not kept any more"}},
	} {
		got := strings.Join(x.f.sentences(), "\n")
		for _, w := range x.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q is missing in\n%s", name, w, got)
			}
		}
		if strings.Contains(got, "exit code 3: exit code 3") {
			t.Errorf("%s: said twice:\n%s", name, got)
		}
	}
}
