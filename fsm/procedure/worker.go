package procedure

import (
	"context"
	"strconv"
	"strings"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

func workerProcedures() []*Procedure {
	id := registry.Parameter{Name: "WorkerAgentId", Type: sqltype.UniqueIdentifier, Required: true, Doc: "the worker's AgentId, as in worker_agents"}
	return []*Procedure{
		{
			Name: "enable_worker_agent", Permission: catalog.Admin, Parameters: []registry.Parameter{id},
			Doc:  "Lets a worker take tasks.",
			Plan: planEnableWorker(true),
		},
		{
			Name: "disable_worker_agent", Permission: catalog.Admin, Parameters: []registry.Parameter{id},
			Doc:  "Gives a worker no more tasks; those that it runs go on to their end.",
			Plan: planEnableWorker(false),
		},
		{
			Name: "set_worker_agent_property", Permission: catalog.Admin,
			Parameters: []registry.Parameter{
				id,
				{Name: "PropertyName", Type: sqltype.NVarChar(256), Required: true, Doc: "DisplayName, Description, Tags or MaxTaskCount"},
				{Name: "PropertyValue", Type: sqltype.NVarCharMax, Required: true, Doc: "the new value; DisplayName and Description hold 256 characters, MaxTaskCount a number that lowers the worker's own (0: none)"},
			},
			Doc:  "Sets a worker's DisplayName, Description or Tags, or lowers its MaxTaskCount.",
			Plan: planSetWorkerProperty,
		},
		{
			Name: "delete_worker_agent", Permission: catalog.Admin, Parameters: []registry.Parameter{id},
			Doc:  "Forgets a worker that holds no task; should it come back, it registers as a new, disabled one.",
			Plan: planDeleteWorker,
		},
		{
			Name: "enable_scaleout", Permission: catalog.Admin,
			Doc: "Succeeds and changes nothing: Scale Out is the only mode there is.",
			Plan: func(context.Context, *Call) (Plan, error) {
				return Plan{Command: &command.EnableScaleout{}}, nil
			},
		},
	}
}

// knownWorker returns the worker named by the argument.
func knownWorker(call *Call, argument string) (*catalog.Worker, error) {
	id := call.Args.text(argument)
	w, ok := call.View.Worker(id)
	if !ok {
		return nil, command.Refuse(command.CodeWorkerNotFound, "no worker with the id %s has registered; worker_agents lists them", id)
	}
	return w, nil
}

func planEnableWorker(enabled bool) func(context.Context, *Call) (Plan, error) {
	return func(_ context.Context, call *Call) (Plan, error) {
		w, err := knownWorker(call, "WorkerAgentId")
		if err != nil {
			return Plan{}, err
		}
		return Plan{Command: &command.EnableWorker{ID: w.ID, Enabled: enabled}}, nil
	}
}

func planSetWorkerProperty(_ context.Context, call *Call) (Plan, error) {
	w, err := knownWorker(call, "WorkerAgentId")
	if err != nil {
		return Plan{}, err
	}
	name, value := call.Args.text("PropertyName"), call.Args.text("PropertyValue")
	if strings.EqualFold(name, catalog.PropertyMaxTaskCount) {
		n, err := catalog.TaskCount(value)
		if err != nil {
			return Plan{}, err
		}
		return Plan{Command: &command.SetWorkerProperty{ID: w.ID, Name: catalog.PropertyMaxTaskCount, Value: strconv.Itoa(n)}}, nil
	}
	for _, known := range []string{catalog.PropertyDisplayName, catalog.PropertyDescription, catalog.PropertyTags} {
		if !strings.EqualFold(name, known) {
			continue
		}
		if n := sqltype.Characters(value); known != catalog.PropertyTags && n > 256 {
			return Plan{}, command.Refuse(command.CodeInvalidArgument, "PropertyValue: %s holds at most 256 characters, these are %d", known, n)
		}
		if n := len(value); n > catalog.MaxTags {
			return Plan{}, command.Refuse(command.CodeInvalidArgument, "PropertyValue: %s holds at most %d bytes, these are %d", known, catalog.MaxTags, n)
		}
		if r, hidden := catalog.HiddenIn(value); hidden && known == catalog.PropertyDisplayName {
			return Plan{}, command.Refuse(command.CodeInvalidArgument, "PropertyValue: %s contains %s", sqltype.Quote(value), r)
		}
		return Plan{Command: &command.SetWorkerProperty{ID: w.ID, Name: known, Value: value}}, nil
	}
	return Plan{}, catalog.UnknownProperty(name)
}

func planDeleteWorker(_ context.Context, call *Call) (Plan, error) {
	w, err := knownWorker(call, "WorkerAgentId")
	if err != nil {
		return Plan{}, err
	}
	for e := range call.View.HeldBy(w.ID) {
		return Plan{}, command.Refuse(command.CodeWorkerBusy, "the worker %s holds the task of execution %d: disable it and wait, or stop the execution", w.ID, e.ID)
	}
	return Plan{Command: &command.DeleteWorker{ID: w.ID}}, nil
}
