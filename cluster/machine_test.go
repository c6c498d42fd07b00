package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"scaleout/fsm/command"
)

// tally is a state machine that counts: folders by name, and how often each was asked for.
type tally struct {
	applied func(Applied)
	failed  func(error)
	hold    chan struct{} // while not nil and open, Apply waits

	mu sync.Mutex
	s  tallyState
}

type tallyState struct {
	Index   uint64
	Level   int
	Cluster string
	Folders map[string]int
	Order   []string
	Time    command.Time
}

func newTally(applied func(Applied), failed func(error)) *tally {
	return &tally{applied: applied, failed: failed, s: tallyState{Folders: map[string]int{}}}
}

func (t *tally) View() MachineState { return tallyView{t} }

func (t *tally) Index() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.s.Index
}

type tallyView struct{ t *tally }

func (v tallyView) Level() int {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	return v.t.s.Level
}

func (v tallyView) ClusterID() string {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	return v.t.s.Cluster
}

func (tallyView) Master(string) (*command.MasterBeat, bool) { return nil, false }

func (t *tally) Apply(l *raft.Log) any {
	t.mu.Lock()
	hold := t.hold
	t.mu.Unlock()
	if hold != nil {
		<-hold
	}
	e, err := command.Decode(l.Data)
	if err != nil {
		t.failed(err)
		select {}
	}
	a := Applied{Index: l.Index, Term: l.Term, Proposer: e.Proposer, First: e.First}
	t.mu.Lock()
	for _, env := range e.Commands {
		a.Results = append(a.Results, t.apply(env))
	}
	t.s.Index = l.Index
	t.mu.Unlock()
	t.applied(a)
	return nil
}

func (t *tally) apply(env command.Envelope) command.Result {
	t.s.Time = max(t.s.Time, env.Time)
	cmd, err := env.Command()
	if err != nil {
		t.failed(err)
		select {}
	}
	switch c := cmd.(type) {
	case *command.InitCluster:
		t.s.Cluster, t.s.Level = c.ClusterID, c.Level
	case *command.RaiseLevel:
		t.s.Level = max(t.s.Level, c.Level)
	case *command.CreateFolder:
		if t.s.Folders[c.Name]++; t.s.Folders[c.Name] > 1 {
			return command.Result{Rejection: &command.Rejection{Code: "folder_exists", Detail: c.Name}}
		}
		t.s.Order = append(t.s.Order, c.Name)
		return command.Result{Value: int64(len(t.s.Order))}
	}
	return command.Result{}
}

func (t *tally) count(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.s.Folders[name]
}

func (t *tally) time() command.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.s.Time
}

// print is the state as a line, for comparing nodes.
func (t *tally) print() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%s %d %v %v", t.s.Cluster, t.s.Level, t.s.Order, slices.Sorted(maps.Keys(t.s.Folders)))
}

func (t *tally) Snapshot() (raft.FSMSnapshot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, err := json.Marshal(t.s)
	return tallySnapshot(b), err
}

func (t *tally) Restore(r io.ReadCloser) error {
	defer r.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.s = tallyState{}
	return json.NewDecoder(r).Decode(&t.s)
}

type tallySnapshot []byte

func (s tallySnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(s); err != nil {
		return err
	}
	return sink.Close()
}
func (tallySnapshot) Release() {}
