package catalog

import "scaleout/fsm/command"

// kind is one kind of command: what the log knows of it, and what it does to the state. One of decide and apply is set:
// decide for a command that is applied whole or not at all, apply for a list of items, each of which sees what those
// before it did.
type kind struct {
	command.Spec
	decide func(*Reader, *edit, command.Command) command.Result
	apply  func(*State, command.Caller, command.Command) command.Result
	// awaits is the execution that a caller who asked for a synchronized start waits for. Nil: nobody waits.
	awaits func(command.Command) int64
}

// kinds is every kind, by number. It is filled by init, since transitions themselves refer to it.
var kinds []*kind

// A new kind is one line here, beside its struct in package command and its transition: number, name, the level from
// which on it may be proposed, the transition, and what is special about it. Numbers are never reused and never change
// their meaning.
func init() {
	declare(
		declareWhole(1, "noop", 1, nothing[command.Noop]),
		declareWhole(2, "init_cluster", 1, initCluster),
		declareWhole(3, "raise_level", 1, raiseLevel),
		declareWhole(4, "beat", 1, beat),
		declareWhole(5, "create_folder", 1, createFolder, returns("folder_id")),
		declareWhole(6, "delete_folder", 1, deleteFolder),
		declareWhole(7, "deploy_project", 1, deployProject, withManifest, returns("operation_id"),
			blob(func(c *command.DeployProject) string { return c.Blob })),
		declareWhole(8, "delete_project", 1, deleteProject),
		declareWhole(9, "create_execution", 1, createExecution, returns("execution_id")),
		declareWhole(10, "set_execution_parameter_value", 1, setExecutionParameter),
		declareWhole(11, "add_execution_worker", 1, addExecutionWorker),
		declareWhole(12, "start_execution", 1, startExecution,
			awaits(func(c *command.StartExecution) int64 { return c.ExecutionID })),
		declareWhole(13, "stop_operation", 1, stopOperation),
		declareItems(14, "register_worker", 1, registerWorker),
		declareWhole(15, "enable_worker", 1, enableWorker),
		declareWhole(16, "set_worker_property", 1, setWorkerProperty),
		declareWhole(17, "delete_worker", 1, deleteWorker),
		declareItems(18, "exchange", 1, exchange),
		declareItems(19, "expire", 1, expireAll),
		declareItems(20, "append_messages", 1, appendMessages,
			blob(func(c *command.AppendMessages) string { return c.Segment })),
		declareWhole(21, "merge_segments", 1, mergeSegments, returns("parts_moved"),
			blob(func(c *command.MergeSegments) string { return c.Segment })),
		declareItems(22, "cleanup", 1, cleanup, returns("rows_removed")),
		declareWhole(23, "enable_scaleout", 1, nothing[command.EnableScaleout]),
		declareWhole(24, "announce", 2, announce),
		declareItems(25, "fail_queued", 2, failAllQueued),
		declareWhole(26, "rename_folder", 3, renameFolder),
		declareWhole(27, "set_folder_description", 3, setFolderDescription),
	)
}

func declare(all ...*kind) {
	for _, k := range all {
		command.Register(k.Spec)
		for int(k.Kind) >= len(kinds) {
			kinds = append(kinds, nil)
		}
		kinds[k.Kind] = k
	}
}

// special is what sets a kind apart from most others.
type special func(*kind)

func withManifest(k *kind) { k.Size = command.WithManifest }

func returns(what string) special { return func(k *kind) { k.Returns = what } }

func blob[C any](f func(*C) string) special {
	return func(k *kind) { k.Blob = func(c command.Command) string { return f(c.(*C)) } }
}

func awaits[C any](f func(*C) int64) special {
	return func(k *kind) { k.awaits = func(c command.Command) int64 { return f(c.(*C)) } }
}

func spec[C any](number command.Kind, name string, level int, specials []special) *kind {
	k := &kind{Spec: command.Spec{Kind: number, Name: name, Level: level, New: func() command.Command { return new(C) }}}
	for _, s := range specials {
		s(k)
	}
	return k
}

func declareWhole[C any](
	number command.Kind, name string, level int, f func(*Reader, *edit, *C) command.Result, specials ...special,
) *kind {
	k := spec[C](number, name, level, specials)
	k.decide = func(r *Reader, e *edit, c command.Command) command.Result { return f(r, e, c.(*C)) }
	return k
}

func declareItems[C any](
	number command.Kind, name string, level int, f func(*State, command.Caller, *C) command.Result, specials ...special,
) *kind {
	k := spec[C](number, name, level, specials)
	k.apply = func(s *State, by command.Caller, c command.Command) command.Result { return f(s, by, c.(*C)) }
	return k
}

func nothing[C any](*Reader, *edit, *C) command.Result { return command.Result{} }
