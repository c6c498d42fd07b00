package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

var (
	errUnknown   = command.ErrUnknownOutcome
	errUnapplied = command.ErrBusy
)

const (
	one   = "11111111-1111-1111-1111-111111111111"
	two   = "22222222-2222-2222-2222-222222222222"
	three = "33333333-3333-3333-3333-333333333333"

	leaseOf     = time.Minute
	toleranceOf = 10 * time.Minute
)

// harness is a dispatcher over a real state behind a node without a network. It lives in a synctest bubble.
type harness struct {
	*testing.T
	d   *Dispatcher
	ctx context.Context
	seq map[string]uint64

	mu     sync.Mutex
	state  *catalog.State
	before func(command.Command) error // a proposal that is not applied
	after  func(command.Command) error // one that is applied, and whose answer is lost
	read   func() error
}

// within runs a test on a clock of its own.
func within(t *testing.T, f func(h *harness)) {
	// Packed and unpacked once outside: the compressor's own channels must not belong to one test's bubble.
	manifest, err := command.PackManifest(command.Manifest{ID: "{p}", FormatVersion: 1, Packages: []command.Package{
		{Name: "a.sh", EntryPoint: true}, {Name: "b.dtsx", EntryPoint: true},
	}})
	if err == nil {
		_, err = command.UnpackManifest(manifest)
	}
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h := &harness{T: t, ctx: ctx, seq: map[string]uint64{}, state: catalog.NewState()}
		h.d = New(Config{
			State: h, Node: h, Election: time.Second,
			Logger: slog.New(slog.DiscardHandler),
		})
		h.do(&command.InitCluster{ClusterID: "c", Level: 1})
		h.do(&command.CreateFolder{Name: "F"})
		h.do(&command.DeployProject{Folder: "F", Project: "P", Size: 1, Manifest: manifest,
			Blob: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"})
		h.d.Establish()
		done := make(chan struct{})
		go func() { defer close(done); _ = h.d.Run(ctx) }()
		defer func() { cancel(); <-done }()
		f(h)
	})
}

// set changes a hook.
func set[T any](h *harness, hook *T, to T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*hook = to
}

// get is a hook as it is now.
func get[T any](h *harness, hook *T) T {
	h.mu.Lock()
	defer h.mu.Unlock()
	return *hook
}

func (h *harness) Reader() *catalog.Reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state.Reader()
}

func (h *harness) Read(context.Context) error {
	if read := get(h, &h.read); read != nil {
		return read()
	}
	return nil
}

func (h *harness) Proved() time.Time { return time.Now() }

func (h *harness) Propose(_ context.Context, env command.Envelope) (command.Result, uint64, error) {
	cmd, err := env.Command()
	if err != nil {
		return command.Result{}, 0, err
	}
	if before := get(h, &h.before); before != nil {
		if err := before(cmd); err != nil {
			return command.Result{}, 0, err
		}
	}
	h.mu.Lock()
	env.Time = command.At(time.Now())
	index := h.state.Index() + 1
	result, err := h.state.Apply(index, env)
	h.state.Commit(index)
	touched := h.state.Touched()
	h.mu.Unlock()
	h.d.Touch(touched.Executions, touched.Workers)
	if after := get(h, &h.after); err == nil && after != nil {
		err = after(cmd)
	}
	return result, index, err
}

// do applies a command that must be accepted.
func (h *harness) do(cmd command.Command) command.Result {
	h.Helper()
	env, err := command.Wrap(cmd)
	if err != nil {
		h.Fatal(err)
	}
	env.Caller = command.Caller{Kind: "user", Name: "ada", Roles: []string{command.RoleAdmin}}
	before, after := get(h, &h.before), get(h, &h.after)
	set(h, &h.before, nil)
	set(h, &h.after, nil)
	r, _, err := h.Propose(h.ctx, env)
	set(h, &h.before, before)
	set(h, &h.after, after)
	if err != nil || r.Rejection != nil {
		h.Fatal(err, r.Rejection)
	}
	return r
}

func registration(id, incarnation string, slots int, extensions ...string) *command.RegisterWorker {
	return &command.RegisterWorker{
		ID: id, CertName: "cert-" + id[:1], Incarnation: incarnation, MachineID: "machine-" + id[:1],
		MachineName: "HOST" + id[:1],
		BootID:      "b", Version: "1", UserAccount: "svc", DisplayName: "worker-" + id[:1], MaxTaskCount: slots,
		LeaseMs: leaseOf.Milliseconds(), TaskHeartbeatMs: 10_000, AgentHeartbeatMs: 60_000,
		ToleranceMs: toleranceOf.Milliseconds(),
		Extensions:  extensions, Bitness: []int{64},
	}
}

// worker registers and enables a worker that runs .sh packages, or the given ones.
func (h *harness) worker(id string, slots int, extensions ...string) {
	h.Helper()
	if len(extensions) == 0 {
		extensions = []string{".sh"}
	}
	if _, err := h.d.Register(h.ctx, registration(id, "i1", slots, extensions...), time.Now()); err != nil {
		h.Fatal(err)
	}
	h.do(&command.EnableWorker{ID: id, Enabled: true})
}

// start makes a pending execution and returns its id.
func (h *harness) start(pkg string, retries int, workers ...string) int64 {
	h.Helper()
	id := h.do(&command.CreateExecution{Folder: "F", Project: "P", Package: pkg,
		AnyWorker: len(workers) == 0}).Value
	for _, w := range workers {
		h.do(&command.AddExecutionWorker{ExecutionID: id, Worker: w})
	}
	h.do(&command.StartExecution{ExecutionID: id, RetryCount: retries, RetryDelayMs: 5000})
	return id
}

// poll is a worker's next exchange, not held, with as many slots as it registered.
func (h *harness) poll(id string) command.Poll {
	h.seq[id]++
	row, _ := h.Reader().Worker(id)
	return command.Poll{
		Worker: id, CertName: "cert-" + id[:1], Incarnation: row.Incarnation, Sequence: h.seq[id], Slots: row.MaxTaskCount,
		Received: time.Now(),
	}
}

func (h *harness) exchange(p command.Poll) command.Answer {
	h.Helper()
	a, err := h.d.Exchange(h.ctx, p)
	if err != nil {
		h.Fatal(err)
	}
	return a
}

// held makes an exchange in the background and returns once it is held, or answered.
func (h *harness) held(p command.Poll) <-chan reply {
	out := make(chan reply, 1)
	go func() {
		a, err := h.d.Exchange(h.ctx, p)
		out <- reply{a, err}
	}()
	synctest.Wait()
	return out
}

type reply struct {
	command.Answer
	err error
}

func (r reply) String() string { return fmt.Sprint(granted(r.Answer), r.err) }

func ended(out <-chan reply) bool { return len(out) == 1 }

// granted are the tasks of an answer.
func granted(a command.Answer) []int64 {
	var ids []int64
	for _, g := range a.Grants {
		ids = append(ids, g.TaskID)
	}
	return ids
}

func (h *harness) gives(what string, got command.Answer, want ...int64) {
	h.Helper()
	if !slices.Equal(granted(got), want) {
		h.Errorf("%s: granted %v, want %v", what, granted(got), want)
	}
}

func (h *harness) status(id int64, want catalog.Status) {
	h.Helper()
	e, ok := h.Reader().Execution(id)
	if !ok || e.Status != want {
		h.Errorf("execution %d is %v, want %v", id, e.Status, want)
	}
}

func (h *harness) reason(id int64, want string) {
	h.Helper()
	if code, args, _ := h.d.Reason(id); code != want {
		h.Errorf("reason %q %q, want %q", code, args, want)
	}
}

func at(id int64, attempt int) command.AttemptRef {
	return command.AttemptRef{TaskID: id, Attempt: attempt}
}

func report(id int64, attempt int, outcome command.Outcome) command.Report {
	return command.Report{AttemptRef: at(id, attempt), Outcome: outcome}
}

// code is a rejection's.
func code(err error) string {
	var no *command.Rejection
	if errors.As(err, &no) {
		return command.Family(no.Code)
	}
	return fmt.Sprint(err)
}
