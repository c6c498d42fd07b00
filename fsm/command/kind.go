package command

// Kind numbers a command in the log. Numbers are never reused and never change their meaning: append only.
type Kind uint16

// The kinds, in the order in which they came to be.
const (
	KindNoop Kind = iota + 1
	KindInitCluster
	KindRaiseLevel
	KindBeat
	KindCreateFolder
	KindDeleteFolder
	KindDeployProject
	KindDeleteProject
	KindCreateExecution
	KindSetExecutionParameter
	KindAddExecutionWorker
	KindStartExecution
	KindStopOperation
	KindRegisterWorker
	KindEnableWorker
	KindSetWorkerProperty
	KindDeleteWorker
	KindExchange
	KindExpire
	KindAppendMessages
	KindMergeSegments
	KindCleanup
	KindEnableScaleout
	KindAnnounce
	KindFailQueued
)

// Spec describes a kind: its name in logs and metrics, the feature level that introduced it, and a constructor.
type Spec struct {
	Name  string
	Level int
	New   func() Command
}

// Specs maps every kind to its description.
var Specs = map[Kind]Spec{
	KindNoop:                  {"noop", 1, func() Command { return new(Noop) }},
	KindInitCluster:           {"init_cluster", 1, func() Command { return new(InitCluster) }},
	KindRaiseLevel:            {"raise_level", 1, func() Command { return new(RaiseLevel) }},
	KindBeat:                  {"beat", 1, func() Command { return new(Beat) }},
	KindCreateFolder:          {"create_folder", 1, func() Command { return new(CreateFolder) }},
	KindDeleteFolder:          {"delete_folder", 1, func() Command { return new(DeleteFolder) }},
	KindDeployProject:         {"deploy_project", 1, func() Command { return new(DeployProject) }},
	KindDeleteProject:         {"delete_project", 1, func() Command { return new(DeleteProject) }},
	KindCreateExecution:       {"create_execution", 1, func() Command { return new(CreateExecution) }},
	KindSetExecutionParameter: {"set_execution_parameter_value", 1, func() Command { return new(SetExecutionParameter) }},
	KindAddExecutionWorker:    {"add_execution_worker", 1, func() Command { return new(AddExecutionWorker) }},
	KindStartExecution:        {"start_execution", 1, func() Command { return new(StartExecution) }},
	KindStopOperation:         {"stop_operation", 1, func() Command { return new(StopOperation) }},
	KindRegisterWorker:        {"register_worker", 1, func() Command { return new(RegisterWorker) }},
	KindEnableWorker:          {"enable_worker", 1, func() Command { return new(EnableWorker) }},
	KindSetWorkerProperty:     {"set_worker_property", 1, func() Command { return new(SetWorkerProperty) }},
	KindDeleteWorker:          {"delete_worker", 1, func() Command { return new(DeleteWorker) }},
	KindExchange:              {"exchange", 1, func() Command { return new(Exchange) }},
	KindExpire:                {"expire", 1, func() Command { return new(Expire) }},
	KindAppendMessages:        {"append_messages", 1, func() Command { return new(AppendMessages) }},
	KindMergeSegments:         {"merge_segments", 1, func() Command { return new(MergeSegments) }},
	KindCleanup:               {"cleanup", 1, func() Command { return new(Cleanup) }},
	KindEnableScaleout:        {"enable_scaleout", 1, func() Command { return new(EnableScaleout) }},
	KindAnnounce:              {"announce", 2, func() Command { return new(Announce) }},
	KindFailQueued:            {"fail_queued", 2, func() Command { return new(FailQueued) }},
}

func (k Kind) String() string {
	if s, ok := Specs[k]; ok {
		return s.Name
	}
	return "unknown"
}
