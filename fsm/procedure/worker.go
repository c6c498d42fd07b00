package procedure

import (
	"scaleout/fsm/command"
)

type worker struct {
	ID string `param:"WorkerAgentId" type:"uniqueidentifier" doc:"the worker's AgentId, as in worker_agents"`
}

type setWorkerProperty struct {
	ID    string `param:"WorkerAgentId" type:"uniqueidentifier" doc:"the worker's AgentId, as in worker_agents"`
	Name  string `param:"PropertyName" type:"nvarchar(256)" doc:"DisplayName, Description, Tags or MaxTaskCount"`
	Value string `param:"PropertyValue" type:"nvarchar(max)" doc:"the new value; DisplayName and Description hold 256 characters, MaxTaskCount a number that lowers the worker's own (0: none)"`
}

func workerProcedures() []*Procedure {
	return []*Procedure{
		Declare(Options[worker]{
			Name: "enable_worker_agent", Permission: command.MayAdminister,
			Doc:    "Lets a worker take tasks.",
			Raises: []string{command.CodeWorkerNotFound},
			Plan:   Commands(func(a *worker) command.Command { return &command.EnableWorker{ID: a.ID, Enabled: true} }),
		}),
		Declare(Options[worker]{
			Name: "disable_worker_agent", Permission: command.MayAdminister,
			Doc:    "Gives a worker no more tasks; those that it runs go on to their end.",
			Raises: []string{command.CodeWorkerNotFound},
			Plan:   Commands(func(a *worker) command.Command { return &command.EnableWorker{ID: a.ID} }),
		}),
		Declare(Options[setWorkerProperty]{
			Name: "set_worker_agent_property", Permission: command.MayAdminister,
			Doc: "Sets a worker's DisplayName, Description or Tags, or lowers its MaxTaskCount.",
			Raises: []string{
				command.CodeNameHidden, command.CodePropertyBytes, command.CodePropertyLong, command.CodePropertyName,
				command.CodeTaskCount, command.CodeWorkerNotFound,
			},
			Plan: Commands(func(a *setWorkerProperty) command.Command {
				return &command.SetWorkerProperty{ID: a.ID, Name: a.Name, Value: a.Value}
			}),
		}),
		Declare(Options[worker]{
			Name: "delete_worker_agent", Permission: command.MayAdminister,
			Doc:    "Forgets a worker that holds no task; should it come back, it registers as a new, disabled one.",
			Raises: []string{command.CodeWorkerBusy, command.CodeWorkerNotFound},
			Plan:   Commands(func(a *worker) command.Command { return &command.DeleteWorker{ID: a.ID} }),
		}),
		Declare(Options[struct{}]{
			Name: "enable_scaleout", Permission: command.MayAdminister,
			Doc:  "Succeeds and changes nothing: Scale Out is the only mode there is.",
			Plan: Commands(func(*struct{}) command.Command { return &command.EnableScaleout{} }),
		}),
	}
}
