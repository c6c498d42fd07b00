package procedure_test

import (
	"fmt"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/view"
)

// agent is a world with one worker that is enabled.
func agent(t *testing.T) *fsmtest.World {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	w.Register(fsmtest.WorkerOne, "m1")
	return w
}

func TestWorkerProceduresAreRefused(t *testing.T) {
	w := agent(t)
	unknown := fmt.Sprintf(`{"WorkerAgentId":%q}`, fsmtest.WorkerTwo)
	for _, p := range []string{"enable_worker_agent", "disable_worker_agent", "delete_worker_agent"} {
		refuses(w, p,
			refusal{p + ": no worker", fsmtest.Alice, unknown, command.CodeWorkerNotFound, fsmtest.WorkerTwo},
			refusal{p + ": no id", fsmtest.Alice, `{"WorkerAgentId":"x"}`, command.FamilyInvalidArgument,
				"use a GUID such as"},
			refusal{p + ": no role for it", fsmtest.Bob, unknown, command.FamilyPermissionDenied, "ssis_admin"},
		)
	}
	refuses(w, "set_worker_agent_property",
		refusal{"a property that cannot be set", fsmtest.Alice, property("IsEnabled", "1"), command.FamilyInvalidArgument,
			"DisplayName, Description, Tags, MaxTaskCount"},
		refusal{"a long value", fsmtest.Alice, property("Description", strings.Repeat("x", 257)),
			command.FamilyInvalidArgument, "at most 256 characters, these are 257"},
	)
	id := w.Started(fsmtest.Bob)
	w.Grant(id, 1, fsmtest.WorkerOne, "m1")
	refuses(w, "delete_worker_agent", refusal{"a busy worker", fsmtest.Alice,
		fmt.Sprintf(`{"WorkerAgentId":%q}`, fsmtest.WorkerOne), command.CodeWorkerBusy, fmt.Sprint("execution ", id)})
}

// property is the arguments that set a property of the worker.
func property(name, value string) string {
	return fmt.Sprintf(`{"WorkerAgentId":%q,"PropertyName":%q,"PropertyValue":%q}`, fsmtest.WorkerOne, name, value)
}

func TestWorkerProcedures(t *testing.T) {
	jsonObject := func(parameter, id string) string { return fmt.Sprintf(`{%q:%q}`, parameter, id) }
	for _, c := range []struct {
		name, before        string // a procedure that is called first; "": none
		procedure, argument string
		column              string // of the worker's row; "": there is no row any more
		want                any
	}{
		{"disabled", "", "disable_worker_agent", jsonObject("workeragentid", fsmtest.WorkerOne), "IsEnabled", false},
		{"disabled twice", "disable_worker_agent", "disable_worker_agent", jsonObject("WorkerAgentId", fsmtest.WorkerOne),
			"IsEnabled", false},
		{"enabled", "disable_worker_agent", "enable_worker_agent",
			jsonObject("WORKERAGENTID", strings.ToLower(fsmtest.WorkerOne)), "IsEnabled", true},
		{"enabled twice", "", "enable_worker_agent", jsonObject("WorkerAgentId", fsmtest.WorkerOne), "IsEnabled", true},
		{"a display name", "", "set_worker_agent_property", property("displayname", "new"), "DisplayName", "new"},
		{"a description", "", "set_worker_agent_property", property("description", "new"), "Description", "new"},
		{"tags", "", "set_worker_agent_property", property("tags", "new"), "Tags", "new"},
		{"deleted", "", "delete_worker_agent", jsonObject("WorkerAgentId", fsmtest.WorkerOne), "", nil},
		{"enable_scaleout changes nothing", "", "enable_scaleout", `{}`, "IsEnabled", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := agent(t)
			if c.before != "" {
				w.Ok(fsmtest.Alice, c.before, "%s", jsonObject("WorkerAgentId", fsmtest.WorkerOne))
			}
			if a := w.Ok(fsmtest.Alice, c.procedure, "%s", c.argument); a.Returned != 0 {
				t.Errorf("it returns %v", a.Returned)
			}
			rows := w.Query(fsmtest.Bob, "worker_agents", view.Request{})
			switch {
			case c.column == "" && len(rows) != 0:
				t.Errorf("%d workers are left", len(rows))
			case c.column != "" && (len(rows) != 1 || rows[0][c.column] != c.want):
				t.Errorf("%s is not %v in %v", c.column, c.want, rows)
			}
		})
	}
}

// A worker that was busy can be deleted as soon as it has reported.
func TestAWorkerThatHasReportedCanBeDeleted(t *testing.T) {
	w := agent(t)
	id := w.Started(fsmtest.Bob)
	w.Grant(id, 1, fsmtest.WorkerOne, "m1")
	w.Report(id, 1, fsmtest.WorkerOne, "m1", command.Succeeded, 0)
	w.Ok(fsmtest.Alice, "delete_worker_agent", `{"WorkerAgentId":%q}`, fsmtest.WorkerOne)
}
