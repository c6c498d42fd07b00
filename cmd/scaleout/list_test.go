package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/cmd/scaleout/show"
)

// fleet is four workers, one in each state.
func fleet() *fakeMaster {
	worker := func(name, state string, enabled bool, running any) map[string]any {
		return map[string]any{
			"WorkerAgentId": "ID-" + name, "DisplayName": name, "MachineName": "m-" + name, "IsEnabled": enabled, "State": state,
			"MaxTaskCount": 4, "RunningTasks": running, "Extensions": ".dtsx,.sh", "Version": "1.2",
			"LastOnlineTime": "2026-01-31T02:03:04.0000000Z",
		}
	}
	return &fakeMaster{views: map[string]func(*http.Request) ([]map[string]any, string){
		"worker_agents": func(*http.Request) ([]map[string]any, string) {
			return []map[string]any{worker("a", "online", true, 2), worker("b", "silent", true, 0),
				worker("c", "draining", true, 1), worker("d", "online", false, 0),
				worker("e", "silent", false, 0)}, ""
		},
		"executions": func(r *http.Request) ([]map[string]any, string) {
			if r.URL.Query().Get("status") != "2" {
				return nil, ""
			}
			return []map[string]any{
				{"execution_id": 17, "folder_name": "ETL", "project_name": "Sales", "package_name": "Load.dtsx",
					"worker_agent_id": "ID-a"},
				{"execution_id": 18, "folder_name": "ETL", "project_name": "Sales", "package_name": "load.sh",
					"worker_agent_id": "ID-a"},
			}, ""
		},
	}}
}

func TestWorkerList(t *testing.T) {
	for _, c := range []struct {
		name   string
		screen show.Screen
		args   []string
		want   string
	}{
		{"no terminal", show.Screen{}, nil, `
Name  State   Slots   Runs  Machine  Extensions  Version  Heard
a     online  2 of 4  17 ETL/Sales/Load.dtsx, 18 ETL/Sales/load.sh  m-a  .dtsx,.sh  1.2  2026-01-31T02:03:04Z
b     silent since 2026-01-31T02:03:04Z
c     draining                              1 of 4
d     disabled                              0 of 4
e     disabled, silent since 2026-01-31T02:03:04Z
`},
		{"80 cells", show.Screen{Terminal: true, Width: 80}, []string{"--utc"}, `
Name  State  Slots  Runs
a  online  2  of  4  17  ETL/Sales/Load.dtsx,
`},
		{"wide", show.Screen{}, []string{"-o", "wide"}, `
Name  Worker id
a     ID-a
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, out, errs := fleet().on(t, c.screen, append([]string{"worker", "list"}, c.args...)...)
			// The words of each line, whatever the columns' widths.
			for want := range strings.SplitSeq(strings.TrimSpace(c.want), "\n") {
				found := slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
					have := strings.Fields(line)
					for _, word := range strings.Fields(want) {
						i := slices.Index(have, word)
						if i < 0 {
							return false
						}
						have = have[i:]
					}
					return true
				})
				if !found {
					t.Errorf("no line says %q in\n%s%s", strings.Join(strings.Fields(want), " "), out, errs)
				}
			}
			for line := range strings.SplitSeq(out, "\n") {
				if c.screen.Width > 0 && len(line) > c.screen.Width {
					t.Errorf("too wide: %s", line)
				}
			}
		})
	}
}

func TestExecutionListAsksForWhatIsWanted(t *testing.T) {
	var asked []string
	f := fleet()
	f.views["executions"] = func(r *http.Request) ([]map[string]any, string) {
		q := r.URL.Query()
		asked = append(asked, fmt.Sprintf("status=%s folder=%s project=%s caller=%s", q.Get("status"), q.Get("folder_name"),
			q.Get("project_name"), q.Get("caller_name")))
		row := func(id int, created string) map[string]any {
			return map[string]any{"execution_id": id, "folder_name": "ETL", "project_name": "Sales", "package_name": "p",
				"status": 4, "created_time": created, "worker_agent_id": "ID-a"}
		}
		base := 10
		if q.Get("status") == "6" {
			base = 11
		}
		return []map[string]any{row(base+20, "2026-01-31T02:00:00Z"), row(base+10, "2026-01-30T02:00:00Z"),
			row(base, "2026-01-29T02:00:00Z")}, ""
	}
	code, out, errs := f.on(t, show.Screen{}, "execution", "list", "--status", "failed,unexpected", "--since",
		"2026-01-30T00:00:00Z", "--project", "ETL/Sales", "--caller", "alice")
	var ids []string
	for line := range strings.SplitSeq(out, "\n") {
		if f := strings.Fields(line); len(f) > 0 && f[0] != "Id" {
			ids = append(ids, f[0])
		}
	}
	if code != exitOK || !slices.Equal(ids, []string{"31", "30", "21", "20"}) {
		t.Errorf("%d %v %s%s", code, ids, out, errs)
	}
	if want := []string{"status=4 folder=ETL project=Sales caller=alice",
		"status=6 folder=ETL project=Sales caller=alice"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q", asked)
	}
	if !strings.Contains(out, "Z        a\n") || strings.Contains(out, "ID-a") {
		t.Errorf("a worker is shown by its id:\n%s", out)
	}
}

func TestExecutionListOfATypo(t *testing.T) {
	for _, test := range []struct {
		name, line, out, errs string
		code                  int
	}{
		{"project", "--project Saless", "", `there is no project "Saless"; did you mean Sales?`, exitOK},
		{"project of a folder", "--project ETL/Saless", "",
			`the folder "ETL" has no project "Saless"; did you mean Sales?`, exitOK},
		{"folder", "--folder ELT", "", `there is no folder "ELT"; did you mean ETL?`, exitOK},
		{"JSON", "--project Saless -o json", "[]\n", "there is no project", exitOK},
		{"a project that is there", "--project ETL/Sales", "Id  Package", "", exitOK},
		{"two folders", "--folder Other --project ETL/Sales", "", "--folder Other and --project ETL/Sales name two folders",
			exitUsage},
		{"half a path", "--project ETL/", "", `"ETL/": want FOLDER/PROJECT`, exitUsage},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := fleet()
			named := func(row map[string]any) func(*http.Request) ([]map[string]any, string) {
				return func(r *http.Request) ([]map[string]any, string) {
					if name := r.URL.Query().Get("name"); name != "" && name != row["name"] {
						return nil, ""
					}
					return []map[string]any{row}, ""
				}
			}
			f.views["folders"] = named(map[string]any{"folder_id": 1, "name": "ETL"})
			f.views["projects"] = named(map[string]any{"project_id": 2, "folder_id": 1, "name": "Sales"})
			code, out, errs := f.on(t, show.Screen{}, append([]string{"execution", "list"}, strings.Fields(test.line)...)...)
			if code != test.code || !strings.HasPrefix(out, test.out) || test.out == "" && out != "" {
				t.Errorf("exit %d: %q", code, out)
			}
			if !strings.Contains(errs, test.errs) || test.errs == "" && errs != "" {
				t.Errorf("%q is missing in %q", test.errs, errs)
			}
		})
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"": {}, "90m": now.Add(-90 * time.Minute), "24h": now.Add(-24 * time.Hour), "7d": now.AddDate(0, 0, -7),
		"2026-01-30":           time.Date(2026, 1, 30, 0, 0, 0, 0, time.Local),
		"2026-01-30 02:03":     time.Date(2026, 1, 30, 2, 3, 0, 0, time.Local),
		"2026-01-30T02:03:04Z": time.Date(2026, 1, 30, 2, 3, 4, 0, time.UTC),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"yesterday", "-3h", "0d", "-1d", "2026-13-01", "3"} {
		if got, err := parseSince(bad, now); err == nil {
			t.Errorf("%q was taken as %v", bad, got)
		}
	}
}
