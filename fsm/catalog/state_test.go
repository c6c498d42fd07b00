package catalog

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// machine applies commands to a state, one entry each, on a clock of its own.
type machine struct {
	testing.TB
	s      *State
	now    command.Time
	caller command.Caller
	key    command.Key
	log    []command.Envelope
}

var (
	ada = command.Caller{Kind: "user", Name: "ada", Roles: []string{command.RoleAdmin}}
	eve = command.Caller{Kind: "user", Name: "eve"}
)

const (
	blobA    = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	segmentA = "aaaad081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	segmentB = "bbbbd081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	segmentC = "ccccd081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	worker1  = "11111111-1111-1111-1111-111111111111"
	worker2  = "22222222-2222-2222-2222-222222222222"
)

func newMachine(t testing.TB) *machine {
	w := &machine{TB: t, s: NewState(), now: command.At(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), caller: ada}
	w.ok(&command.InitCluster{ClusterID: "c1", Level: 1})
	return w
}

func (w *machine) apply(env command.Envelope) command.Result {
	w.Helper()
	index := w.s.Index() + 1
	result, err := w.s.Apply(index, env)
	if err != nil {
		w.Fatal(err)
	}
	w.s.Commit(index)
	w.log = append(w.log, env)
	return result
}

func (w *machine) do(cmd command.Command) command.Result {
	w.Helper()
	env, err := command.Wrap(cmd)
	if err != nil {
		w.Fatal(err)
	}
	w.now += command.Time(time.Millisecond)
	env.Time, env.Caller, env.Key = w.now, w.caller, w.key
	return w.apply(env)
}

// ok applies a command that must be accepted, with all its items.
func (w *machine) ok(cmd command.Command) command.Result {
	w.Helper()
	result := w.do(cmd)
	if result.Rejection != nil {
		w.Fatalf("%s rejected: %v", command.KindOf(cmd), result.Rejection)
	}
	for i, item := range result.Items {
		if item.Code != "" {
			w.Fatalf("%s: item %d refused: %s %q", command.KindOf(cmd), i, item.Code, item.Args)
		}
	}
	return result
}

// refused applies a command that must be rejected with the code and change nothing.
func (w *machine) refused(code string, cmd command.Command) {
	w.Helper()
	before := w.content()
	result := w.do(cmd)
	got := ""
	if result.Rejection != nil {
		got = result.Rejection.Code
	}
	if len(result.Items) > 0 {
		got = result.Items[len(result.Items)-1].Code
	}
	// A family stands for each of its codes.
	if got != code && (code == "" || command.Family(got) != code) {
		w.Errorf("%s %+v: answered %q, want %q", command.KindOf(cmd), cmd, got, code)
	}
	if w.content() != before {
		w.Errorf("%s refused with %q and yet changed the state", command.KindOf(cmd), code)
	}
}

// pass lets as much time pass as a leader that writes a command a second does, the last command at the end of it.
func (w *machine) pass(d time.Duration) {
	w.Helper()
	caller, key := w.caller, w.key
	w.key = command.Key{}
	end := w.now.Add(d)
	for w.now < end {
		w.now = min(w.now.Add(time.Second), end) - command.Time(time.Millisecond)
		w.do(&command.Noop{})
	}
	w.caller, w.key = caller, key
}

// content is all of the state but its time.
func (w *machine) content() string {
	w.Helper()
	h := sha256.New()
	for r, err := range w.s.Snapshot().Records() {
		if err != nil {
			w.Fatal(err)
		}
		if r.Type == tableMeta.record {
			var m meta
			must(command.Unmarshal(r.Data, &m))
			m.Time, m.Stamp, m.KeyTime = 0, 0, 0
			r.Data, _ = command.Marshal(m)
		}
		fmt.Fprintf(h, "%d %x\n", r.Type, r.Data)
	}
	return string(h.Sum(nil))
}

func (w *machine) execution(id int64) *Execution {
	w.Helper()
	e, ok := w.s.Reader().Execution(id)
	if !ok {
		w.Fatalf("no execution %d", id)
	}
	return e
}

func (w *machine) status(id int64, want Status) {
	w.Helper()
	if got := w.execution(id).Status; got != want {
		w.Errorf("execution %d is %s, want %s", id, got, want)
	}
}

func packedManifest(t testing.TB, packages ...string) []byte {
	t.Helper()
	m := command.Manifest{ID: "{p}", FormatVersion: 1, Parameters: []command.Parameter{
		{Name: "Year", Type: "Int32"}, {Name: "Secret", Type: "String", Sensitive: true},
	}}
	for _, name := range packages {
		m.Packages = append(m.Packages, command.Package{Name: name, EntryPoint: name != "Child.dtsx",
			Parameters: []command.Parameter{
				{Name: "Must", Type: "String", Required: name == "Strict.dtsx",
					Default: &command.Value{Type: "String", Text: "designer"}},
			}})
	}
	b, err := command.PackManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// deploy makes folder F and project P in its next version and returns that version.
func (w *machine) deploy() int64 {
	w.Helper()
	if _, ok := w.s.Reader().Folder("F"); !ok {
		w.ok(&command.CreateFolder{Name: "F"})
	}
	w.ok(&command.DeployProject{Folder: "F", Project: "P", Blob: blobA, Size: 1, Manifest: packedManifest(w, "Load.dtsx",
		"Child.dtsx", "Strict.dtsx")})
	p, _ := w.s.Reader().Project("F", "P")
	return p.Version
}

func (w *machine) worker(id string) {
	w.Helper()
	w.ok(registration(id, "i1"))
	w.ok(&command.EnableWorker{ID: id, Enabled: true})
}

func registration(id, incarnation string) *command.RegisterWorker {
	return &command.RegisterWorker{
		ID: id, CertName: "cert-" + id[:1], Incarnation: incarnation, MachineID: "machine-" + id[:1], BootID: "b",
		Version:     "1",
		MachineName: "HOST" + id[:1],
		UserAccount: "svc", MaxTaskCount: 3, LeaseMs: 60000, TaskHeartbeatMs: 10000, AgentHeartbeatMs: 60000,
		ToleranceMs: 600000,
		Extensions:  []string{".dtsx"}, Bitness: []int{64},
	}
}

func (w *machine) create(pkg string) int64 {
	w.Helper()
	return w.ok(&command.CreateExecution{Folder: "F", Project: "P", Package: pkg, AnyWorker: true}).Value
}

func (w *machine) pending(retries int) int64 {
	w.Helper()
	id := w.create("Load.dtsx")
	w.ok(&command.StartExecution{ExecutionID: id, RetryCount: retries, RetryDelayMs: 5000})
	return id
}

func (w *machine) grant(id int64, attempt int) {
	w.Helper()
	w.ok(grantTo(worker1, "i1", id, attempt))
}

func grantTo(worker, incarnation string, id int64, attempt int) *command.Exchange {
	return &command.Exchange{Worker: worker, Incarnation: incarnation,
		Grants: []command.GrantOrder{{AttemptRef: command.AttemptRef{TaskID: id, Attempt: attempt}, GiveUpAfterMs: 60000}}}
}

func reportOf(id int64, attempt int, outcome command.Outcome) *command.Exchange {
	return &command.Exchange{Worker: worker1, Incarnation: "i1",
		Ended: []command.Report{{AttemptRef: command.AttemptRef{TaskID: id, Attempt: attempt}, Outcome: outcome}}}
}

func expireOf(id int64, attempt int) *command.Expire {
	return &command.Expire{Items: []command.Expiry{{AttemptRef: command.AttemptRef{TaskID: id, Attempt: attempt},
		Worker: worker1, Incarnation: "i1", SilentSince: 5}}}
}

func idsOf(seq iter.Seq[*Execution]) []int64 {
	var list []int64
	for e := range seq {
		list = append(list, e.ID)
	}
	return list
}

// soundness checks what must hold in every state.
func soundness(t rapid.TB, s *State) {
	t.Helper()
	r := s.Reader()
	for i, table := range tables {
		n := 0
		for range rowsBy[any](r, table, byID, nil, false) {
			n++
		}
		if table != tableMeta && n != s.counts[i] {
			t.Errorf("table %s: %d rows, counted %d", table.name, n, s.counts[i])
		}
	}
	if got := s.recount(); !s.places.equal(got) {
		t.Errorf("places %+v, the rows say %+v", s.places, got)
	}
	for e := range r.Live() {
		a := e.current()
		held := a != nil && a.Held()
		if e.Status.HasEnded() || held != (e.Status == Running || e.Status == Stopping) {
			t.Errorf("execution %d lives and is %s, held %t", e.ID, e.Status, held)
		}
	}
	var ended, all []int64
	unsuccessful := 0
	for h := range rowsBy[*record](r, tableHistory, byID, nil, false) {
		e := h.execution()
		all = append(all, e.ID)
		if !e.Status.HasEnded() || e.Ended == 0 {
			t.Errorf("execution %d is history and %s", e.ID, e.Status)
		}
		if e.Status != Succeeded {
			unsuccessful++
		}
		if !slices.Contains(idsOf(r.ExecutionsOf(e.ProjectID, false)), e.ID) {
			t.Errorf("execution %d is missing in its project's list", e.ID)
		}
	}
	last := command.Time(0)
	for e := range r.posted(listEnded, 0, false) {
		ended = append(ended, e.ID)
		if e.Ended < last {
			t.Errorf("execution %d is out of the order of end times", e.ID)
		}
		last = e.Ended
	}
	slices.Sort(ended)
	if !slices.Equal(ended, all) {
		t.Errorf("ended ones %v, history %v", ended, all)
	}
	if n := len(idsOf(r.Unsuccessful(false))); n != unsuccessful {
		t.Errorf("%d unsuccessful ones listed, %d there", n, unsuccessful)
	}
	for p := range rowsBy[*posting](r, tablePostings, byID, nil, false) {
		if got := p.ids(); len(got) != p.N || len(got) > postingSize || p.List == listProject && !slices.IsSorted(got) {
			t.Errorf("posting %d/%d/%d: %v", p.List, p.Of, p.Low, got)
		}
	}
	// Every run is named by its segment, and the other way round.
	type place struct {
		op, run int64
		digest  string
	}
	named := map[place]bool{}
	for seg := range r.Segments() {
		for run := range r.SegmentRuns(seg.Digest) {
			named[place{run.OperationID, run.Run, run.Segment}] = true
		}
	}
	n := 0
	for row := range rowsBy[*runs](r, tableRuns, byID, nil, false) {
		if row.First == 0 {
			for run := range r.Runs(row.OperationID) {
				n++
				if !named[place{run.OperationID, run.Run, run.Segment}] {
					t.Errorf("run %+v is not named by its segment", run)
				}
			}
		}
	}
	if n != len(named) {
		t.Errorf("%d runs, segments name %d", n, len(named))
	}
}

// rebuilt is the state after a snapshot and a restore.
func rebuilt(t rapid.TB, s *State) *State {
	t.Helper()
	b := NewBuilder()
	for r, err := range s.Snapshot().Records() {
		if err == nil {
			err = b.Add(r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	q, err := b.State(s.Index())
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func hashOf(t rapid.TB, s *State) string {
	t.Helper()
	h, err := s.Snapshot().Hash(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestEveryKindHasATransition(t *testing.T) {
	for _, spec := range command.Kinds() {
		kind, s := spec.Kind, NewState()
		env, err := command.Wrap(spec.New())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Apply(1, env); err != nil { // a missing one panics
			t.Errorf("%s: %v", kind, err)
		}
		s.Commit(1)
	}
}

// The working database must not track: it makes a commit of many rows compare whole trees.
func TestDatabaseIsNotTracked(t *testing.T) {
	db := newDatabase()
	txn := db.Txn(true)
	watch, _, err := txn.FirstWatch(tableFolders.name, byID, key(1))
	must(err)
	must(txn.Insert(tableFolders.name, &Folder{ID: 1, Name: "a"}))
	txn.Commit()
	select {
	case <-watch:
		t.Error("a watch fired: the database tracks every node that a transaction touches")
	default:
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	w := newMachine(t)
	w.do(&command.Noop{})
	high := w.s.Reader().Time()
	w.now -= command.Time(time.Hour)
	w.ok(&command.CreateFolder{Name: "F"})
	if got := w.s.Reader().Time(); got != high {
		t.Errorf("time is %v, was %v", got.Time(), high.Time())
	}
	if f, _ := w.s.Reader().Folder("f"); f.Created != high {
		t.Errorf("the folder was created at %v", f.Created.Time())
	}
}

// A commit inside an entry shows whole commands under the index before it, and never part of a command.
func TestLongEntryIsCommittedBetweenCommands(t *testing.T) {
	w := newMachine(t)
	before := w.s.Index()
	most := 0
	for i := range 1200 {
		env, _ := command.Wrap(&command.CreateFolder{Name: fmt.Sprint("f", i)})
		if _, err := w.s.Apply(before+1, env); err != nil {
			t.Fatal(err)
		}
		r := w.s.Reader()
		if r.Index() != before {
			t.Fatalf("an unfinished entry shows as index %d", r.Index())
		}
		shown := 0
		for range r.Folders() {
			shown++
		}
		most = max(most, i+1-shown)
	}
	if most > commitRows {
		t.Errorf("%d changes stood uncommitted", most)
	}
	w.s.Commit(before + 1)
	if r := w.s.Reader(); r.Index() != before+1 || r.Counts()["folders"] != 1200 {
		t.Errorf("index %d, %d folders", r.Index(), r.Counts()["folders"])
	}
}

func TestReaderIsASnapshot(t *testing.T) {
	w := newMachine(t)
	r := w.s.Reader()
	w.ok(&command.CreateFolder{Name: "F"})
	if _, ok := r.Folder("F"); ok {
		t.Error("an older reader sees a newer folder")
	}
	if _, ok := w.s.Reader().Folder("f"); !ok {
		t.Error("names differ by case")
	}
}

func TestUnknownKindAndBadBody(t *testing.T) {
	folder := command.KindOf(&command.CreateFolder{})
	for _, env := range []command.Envelope{{Kind: 9999}, {Kind: folder, Body: []byte{0xff}}} {
		if _, err := NewState().Apply(1, env); err == nil {
			t.Errorf("%+v was applied", env)
		}
	}
}

func TestFold(t *testing.T) {
	for _, pair := range [][2]string{{"Straße", "STRAßE"}, {"Ärger", "äRGER"}, {"K", "k"}, {"ſ", "S"}, {"abc", "ABC"}} {
		if sqltype.Fold(pair[0]) != sqltype.Fold(pair[1]) {
			t.Errorf("%q and %q: %q, %q", pair[0], pair[1], sqltype.Fold(pair[0]), sqltype.Fold(pair[1]))
		}
	}
	if sqltype.Fold("a") == sqltype.Fold("b") {
		t.Error("a is b")
	}
}
