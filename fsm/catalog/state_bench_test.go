package catalog

import (
	"runtime"
	"testing"

	"scaleout/fsm/command"
)

// One life cycle: create, start, grant, finish, as the leader batches them: 32 of each step in an entry.
func BenchmarkLifeCycle(b *testing.B) {
	w := ready(b)
	big := registration(worker1, "i1")
	big.MaxTaskCount = 1000
	w.ok(big)
	const batch = 32
	entry := func(cmds ...command.Command) (results []command.Result) {
		index := w.s.Index() + 1
		w.now += 1_000_000
		for _, cmd := range cmds {
			env, err := command.Wrap(cmd)
			must(err)
			env.Time, env.Caller = w.now, ada
			r, err := w.s.Apply(index, env)
			must(err)
			if r.Rejection != nil {
				b.Fatal(r.Rejection)
			}
			results = append(results, r)
		}
		w.s.Commit(index)
		return results
	}
	n := 0
	for b.Loop() {
		var create, start []command.Command
		for range batch {
			create = append(create, &command.CreateExecution{Folder: "F", Project: "P", Package: "Load.dtsx", AnyWorker: true})
		}
		grants := &command.Exchange{Worker: worker1, Incarnation: "i1"}
		ended := &command.Exchange{Worker: worker1, Incarnation: "i1"}
		for _, r := range entry(create...) {
			ref := command.AttemptRef{TaskID: r.Value, Attempt: 1}
			start = append(start, &command.StartExecution{ExecutionID: r.Value, RetryDelayMs: 5000})
			grants.Grants = append(grants.Grants, command.GrantOrder{AttemptRef: ref, GiveUpAfterMs: 600000})
			ended.Ended = append(ended.Ended, command.Report{AttemptRef: ref, Outcome: command.Succeeded})
		}
		entry(start...)
		entry(grants)
		for _, item := range entry(ended)[0].Items {
			if item.Code != "" {
				b.Fatal(item)
			}
		}
		n += batch
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lifecycles/s")
}

// What an execution in the history costs in memory and in a snapshot, and what a snapshot costs.
func BenchmarkHistory(b *testing.B) {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := NewState()
	for i := range int64(n) {
		at := command.Time(1_800_000_000_000_000_000 + i*1_000_000)
		s.begin()
		e := s.edit(ada)
		x := &Execution{
			ID: i + 1, Status: Succeeded, Folder: "Warehouse", Project: "Nightly load", Package: "LoadOrders.dtsx",
			ProjectID: i % 20, PackageID: 7, Version: 3,
			AnyWorker: true, Server: "MSSQLSERVER", Caller: "scheduler", Created: at, Queued: at + 1000, Started: at + 5000,
			Ended: at + 1e9,
			Attempts: []Attempt{{Number: 1, Worker: worker1, Incarnation: worker2, Machine: "ETL-WORKER-1", Granted: at + 5000,
				GiveUpAfterMs: 600000, Ended: at + 1e9,
				Outcome: command.Succeeded, NextSeq: 12}},
		}
		e.add(tableHistory, newRecord(x))
		e.enlist(s.working(), x)
		s.write(e)
		if s.changes >= commitRows {
			s.commit()
		}
	}
	s.Commit(1)
	runtime.GC()
	runtime.ReadMemStats(&after)
	var size int
	for b.Loop() {
		size = 0
		for r, err := range s.Snapshot().Records() {
			must(err)
			size += len(r.Data)
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "heap-B/execution")
	b.ReportMetric(float64(size)/n, "snapshot-B/execution")
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "records/s")
	runtime.KeepAlive(s)
}
