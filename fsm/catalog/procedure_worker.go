package catalog

import (
	"context"
	"strconv"
	"strings"

	"scaleout/fsm/command"
)

var admin = Permission{Roles: []string{command.RoleAdmin}}

// Names of the properties of a worker that can be set, in the product's spelling.
const (
	propertyDisplayName = "DisplayName"
	propertyDescription = "Description"
	propertyTags        = "Tags"
	// propertyMaxTaskCount is ours: the product has no such property.
	propertyMaxTaskCount = "MaxTaskCount"
)

func unknownProperty(name string) *command.Rejection {
	return refusal(CodeInvalidArgument, "PropertyName: %s cannot be set; a worker has %s, %s, %s and %s",
		clip(name), propertyDisplayName, propertyDescription, propertyTags, propertyMaxTaskCount)
}

// taskCount reads a value of MaxTaskCount.
func taskCount(value string) (int, *command.Rejection) {
	const most = 1_000_000
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil || n < 0 || n > most {
		return 0, refusal(CodeInvalidArgument, "PropertyValue: %s is no MaxTaskCount: use 1 to %d, which lowers what the worker asks for, or 0 to take it away",
			clip(value), most)
	}
	return n, nil
}

func workerProcedures() []*Procedure {
	id := Parameter{Name: "WorkerAgentId", Type: UniqueIdentifier, Required: true, Doc: "the worker's AgentId, as in worker_agents"}
	return []*Procedure{
		{
			Name: "enable_worker_agent", Permission: admin, Parameters: []Parameter{id},
			Doc:  "Lets a worker take tasks.",
			Plan: planEnableWorker(true),
		},
		{
			Name: "disable_worker_agent", Permission: admin, Parameters: []Parameter{id},
			Doc:  "Gives a worker no more tasks; those that it runs go on to their end.",
			Plan: planEnableWorker(false),
		},
		{
			Name: "set_worker_agent_property", Permission: admin,
			Parameters: []Parameter{
				id,
				{Name: "PropertyName", Type: NVarChar(256), Required: true, Doc: "DisplayName, Description, Tags or MaxTaskCount"},
				{Name: "PropertyValue", Type: NVarCharMax, Required: true, Doc: "the new value; DisplayName and Description hold 256 characters, MaxTaskCount a number that lowers the worker's own (0: none)"},
			},
			Doc:  "Sets a worker's DisplayName, Description or Tags, or lowers its MaxTaskCount.",
			Plan: planSetWorkerProperty,
		},
		{
			Name: "delete_worker_agent", Permission: admin, Parameters: []Parameter{id},
			Doc:  "Forgets a worker that holds no task; should it come back, it registers as a new, disabled one.",
			Plan: planDeleteWorker,
		},
		{
			Name: "enable_scaleout", Permission: admin,
			Doc: "Succeeds and changes nothing: Scale Out is the only mode there is.",
			Plan: func(context.Context, *Call) (Plan, error) {
				return Plan{Command: &command.EnableScaleout{}}, nil
			},
		},
	}
}

// knownWorker returns the worker named by the argument.
func knownWorker(call *Call, argument string) (*Worker, error) {
	id := call.Args.text(argument)
	w, ok := call.View.Worker(id)
	if !ok {
		return nil, refusal(CodeWorkerNotFound, "no worker with the id %s has registered; worker_agents lists them", id)
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
	if strings.EqualFold(name, propertyMaxTaskCount) {
		n, err := taskCount(value)
		if err != nil {
			return Plan{}, err
		}
		return Plan{Command: &command.SetWorkerProperty{ID: w.ID, Name: propertyMaxTaskCount, Value: strconv.Itoa(n)}}, nil
	}
	for _, known := range []string{propertyDisplayName, propertyDescription, propertyTags} {
		if !strings.EqualFold(name, known) {
			continue
		}
		if n := characters(value); known != propertyTags && n > 256 {
			return Plan{}, refusal(CodeInvalidArgument, "PropertyValue: %s holds at most 256 characters, these are %d", known, n)
		}
		if n := len(value); n > maxTags {
			return Plan{}, refusal(CodeInvalidArgument, "PropertyValue: %s holds at most %d bytes, these are %d", known, maxTags, n)
		}
		if r, hidden := hiddenIn(value); hidden && known == propertyDisplayName {
			return Plan{}, refusal(CodeInvalidArgument, "PropertyValue: %s contains %s", clip(value), r)
		}
		return Plan{Command: &command.SetWorkerProperty{ID: w.ID, Name: known, Value: value}}, nil
	}
	return Plan{}, unknownProperty(name)
}

// maxTags keeps a worker's row, which every heartbeat rewrites, small.
const maxTags = 64 << 10

func planDeleteWorker(_ context.Context, call *Call) (Plan, error) {
	w, err := knownWorker(call, "WorkerAgentId")
	if err != nil {
		return Plan{}, err
	}
	for e := range call.View.HeldBy(w.ID) {
		return Plan{}, refusal(CodeWorkerBusy, "the worker %s holds the task of execution %d: disable it and wait, or stop the execution", w.ID, e.ID)
	}
	return Plan{Command: &command.DeleteWorker{ID: w.ID}}, nil
}
