package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/view"
	"scaleout/httpapi/client"
)

// TestAViewOnANarrowTerminalShowsWhatIsThere asks for the columns that have something in them, and for the status.
func TestAViewOnANarrowTerminalShowsWhatIsThere(t *testing.T) {
	for _, test := range []struct {
		view       string
		row        client.Row
		want, gone []string
	}{
		{"executions",
			client.Row{"execution_id": 17, "folder_name": "ETL", "project_name": "Sales", "package_name": "Load.dtsx",
				"status": 7, "object_type": 20, "object_id": 1},
			[]string{"execution_id", "package_name", "status"}, []string{"reference_id", "environment_name"}},
		{"operation_messages",
			client.Row{"operation_message_id": 1, "operation_id": 17, "message_time": "2026-01-31T02:03:04.5678901Z",
				"message_type":        120,
				"message_source_type": 30, "message": "the table is not there"},
			[]string{"operation_id", "the table is not there"}, []string{"extended_info_id"}},
		{"operation_messages",
			client.Row{"operation_message_id": 1, "operation_id": 17, "message_type": 70,
				"message": strings.Repeat("many words ", 20)},
			[]string{"operation_id", "message", "many words"}, []string{"extended_info_id"}},
	} {
		t.Run(test.view, func(t *testing.T) {
			var names []string
			for _, v := range view.All() {
				for _, c := range v.Columns {
					if v.Name == test.view {
						names = append(names, c.Name)
					}
				}
			}
			out, errs := new(bytes.Buffer), new(bytes.Buffer)
			cmd := &cobra.Command{}
			cmd.SetOut(show.NewWriter(out, show.Screen{Terminal: true, Width: 80}))
			cmd.SetErr(errs)
			if err := (&app{output: "table"}).raw(cmd, names, []client.Row{test.row}); err != nil {
				t.Fatal(err)
			}
			_ = show.Of(cmd.OutOrStdout()).Flush()
			head, _, _ := strings.Cut(out.String(), "\n")
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%s is missing:\n%s", want, out)
				}
			}
			for _, gone := range test.gone {
				if strings.Contains(head, gone) {
					t.Errorf("%s is empty and shown:\n%s", gone, out)
				}
			}
			if !strings.Contains(errs.String(), "do not fit") {
				t.Errorf("it does not say that columns are missing: %s", errs)
			}
		})
	}
}

// TestNoRowsAreAnEmptyList is what scripts rely on that count what is in a list.
func TestNoRowsAreAnEmptyList(t *testing.T) {
	f := withOrders("")
	none := func(*http.Request) ([]map[string]any, string) { return nil, "" }
	f.views["tasks"], f.views["execution_parameter_values"] = none, none
	code, out, errs := f.on(t, show.Screen{}, "execution", "show", "17", "-o", "json")
	for _, want := range []string{`"attempts": []`, `"parameters": []`} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d: %s is missing in %s%s", code, want, out, errs)
		}
	}
}
