package command_test

import "scaleout/fsm/command"

const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func manifest() command.Manifest {
	return command.Manifest{
		ID: "{A}", Description: "Sales", FormatVersion: 1, ProtectionLevel: 2, VersionMajor: 1, VersionMinor: 2,
		VersionBuild:    3,
		VersionComments: "first", Parameters: []command.Parameter{{
			Name: "Year", Description: "the year", Type: "Int32", Required: true,
			Default: &command.Value{Type: "Int32", Text: "2026"},
		}, {Name: "Key", Type: "String", Sensitive: true, Default: &command.Value{Type: "String", Sealed: sealed()}}},
		Packages: []command.Package{{
			Name: "Load.dtsx", GUID: "{B}", VersionGUID: "{C}", Description: "loads", FormatVersion: 8, VersionMajor: 1,
			VersionMinor: 0, VersionBuild: 7, VersionComments: "x", EntryPoint: true,
			Parameters: []command.Parameter{{Name: "CM.Db.Password", Type: "String"}},
		}},
	}
}

func sealed() *command.Sealed {
	return &command.Sealed{KeyID: "k1", Nonce: []byte{1, 2}, Ciphertext: []byte{3, 4, 5}}
}

func attemptRef(task int64, attempt int) command.AttemptRef {
	return command.AttemptRef{TaskID: task, Attempt: attempt}
}

// samples holds a command of every kind with every field set.
func samples() []command.Command {
	refID := int64(9)
	return []command.Command{
		&command.Noop{},
		&command.InitCluster{ClusterID: "c-1", Level: 1, KeySecret: []byte{2}},
		&command.RaiseLevel{Level: 2},
		&command.Beat{
			Masters: []command.MasterBeat{{
				ID: "n1", Name: "m1", Address: "https://h:8391", Machine: "H", IP: "10.0.0.1", Port: 8391, Thumbprint: "AB",
				Version: "1.0", Level: 1, Instance: "MSSQLSERVER", Leader: true, LastOnline: 1700000000000000000,
			}},
			Workers: []command.WorkerBeat{{ID: "W", LastOnline: 5}}, Gone: []string{"n9"},
		},
		&command.CreateFolder{Name: "Sales", Description: "all of it"},
		&command.DeleteFolder{Name: "Sales"},
		&command.RenameFolder{Old: "Sales", New: "Trade"},
		&command.SetFolderDescription{Folder: "Sales", Description: "some of it"},
		// The manifest's own bytes are opaque here: compression may become better.
		&command.DeployProject{Folder: "Sales", Project: "Load", Blob: digest, Size: 12, Manifest: []byte{0x28, 0xb5},
			Password: sealed(), Warnings: []command.Warning{{Code: "w", Args: []string{"a"}}}},
		&command.DeleteProject{Folder: "Sales", Project: "Load"},
		&command.CreateExecution{
			Folder: "Sales", Project: "Load", Package: "Load.dtsx", Use32Bit: true, ServerMode: true, AnyWorker: true,
			ReferenceID: &refID, Server: "SRV", MostNotStarted: 20000,
		},
		&command.SetExecutionParameter{ExecutionID: 7, ObjectType: 30, Name: "Year",
			Value: command.Value{Type: "Int32", Text: "1", Sealed: sealed()}},
		&command.AddExecutionWorker{ExecutionID: 7, Worker: "W"},
		&command.StartExecution{ExecutionID: 7, RetryCount: 2, RetryDelayMs: 5000},
		&command.StopOperation{OperationID: 7},
		&command.RegisterWorker{
			ID: "W", CertName: "w1", Incarnation: "i1", MachineID: "mid", BootID: "bid", Version: "1.0", MachineName: "WM",
			UserAccount: "svc",
			DisplayName: "d", Description: "desc", MaxTaskCount: 10, LeaseMs: 60000, TaskHeartbeatMs: 10000,
			AgentHeartbeatMs: 60000,
			ToleranceMs:      600000, Extensions: []string{".dtsx"}, Bitness: []int{64, 32},
			Running: []command.AttemptRef{attemptRef(7, 1)},
			Ended: []command.Report{{AttemptRef: attemptRef(8, 2), Outcome: command.Failed, ExitCode: 1, Message: "no",
				Messages: 17, Code: "run_timeout"}},
			TakeOver: "old", MostAgentIDs: 64, MostNeverEnabled: 10000, TaskCountLimit: 1000,
		},
		&command.EnableWorker{ID: "W", Enabled: true},
		&command.SetWorkerProperty{ID: "W", Name: "Tags", Value: "x"},
		&command.DeleteWorker{ID: "W"},
		&command.Exchange{
			Worker: "W", Incarnation: "i1", Ended: []command.Report{{AttemptRef: attemptRef(7, 1), Outcome: command.Succeeded}},
			Grants: []command.GrantOrder{{AttemptRef: attemptRef(8, 1), GiveUpAfterMs: 60000}},
		},
		&command.Expire{Items: []command.Expiry{{AttemptRef: attemptRef(7, 1), Worker: "W", Incarnation: "i1",
			SilentSince: 3}}},
		&command.AppendMessages{Segment: digest, Size: 99,
			Parts: []command.MessagePart{{TaskID: 7, Attempt: 1, Worker: "W", FirstSeq: 4, Count: 2, Part: 1}}},
		&command.MergeSegments{Segment: digest, Size: 99, Sources: []string{digest},
			Moves: []command.SegmentMove{{Source: 0, Part: 1}}},
		&command.Cleanup{EndedTasks: 1, Operations: 2, MaxVersions: 10, Limit: 100, NeverEnabled: 4},
		&command.EnableScaleout{},
		&command.FailQueued{Items: []command.Overdue{{AttemptRef: attemptRef(7, 1), Until: 1700000000000000000,
			Reason: "no_worker_online"}}},
		&command.Announce{
			Leader: "n1", Term: 3, Members: []command.AnnouncedMember{{ID: "n1", Name: "m1", Address: "h:8391", Voter: true}},
			Notices: []command.Notice{{Type: "slow_commit", Node: "n1", Number: 2100, Detail: "d"}},
		},
	}
}
