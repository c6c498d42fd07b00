package fsmtest

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/ispac"
	"scaleout/fsm/procedure"
	"scaleout/fsm/registry"
	"scaleout/fsm/segment"
	"scaleout/fsm/sqltype"
	"scaleout/fsm/view"
)

// world is a catalog with everything around it that plans and views use, in memory: procedures are called as a door
// calls them, and their commands applied to a real state.
type World struct {
	T      testing.TB
	State  *catalog.State
	index  uint64
	Now    command.Time
	Blobs  map[string][]byte
	key    cipher.AEAD
	sealed int
	Live   view.Live
	Config procedure.Config
}

// The callers of tests.
var (
	Alice   = command.Caller{Kind: "user", Name: "alice", Roles: []string{command.RoleAdmin}}
	Someone = command.Caller{Kind: "user", Name: "someone"}
	Bob     = command.Caller{Kind: "user", Name: "bob", Roles: []string{command.RoleExecutor}}
	Carol   = command.Caller{Kind: "user", Name: "carol", Roles: []string{command.RoleExecutor}}
	Rita    = command.Caller{Kind: "user", Name: "rita", Roles: []string{command.RoleReader}}
)

const (
	WorkerOne = "11111111-1111-4111-8111-111111111111"
	WorkerTwo = "22222222-2222-4222-8222-222222222222"
)

func NewWorld(t testing.TB) *World {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	key, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	w := &World{T: t, State: catalog.NewState(), Now: command.At(time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)),
		Blobs: map[string][]byte{}, key: key,
		Config: procedure.Config{RetryDelay: 5 * time.Second, MaxProjectBytes: 1 << 20, Server: "MSSQLSERVER"}}
	w.Must(Alice, &command.InitCluster{ClusterID: "c1", Level: command.Level, KeySecret: make([]byte, 32)})
	return w
}

// apply applies one command a second later than the one before.
func (w *World) apply(caller command.Caller, cmd command.Command) command.Result {
	w.T.Helper()
	env, err := command.Wrap(cmd)
	if err != nil {
		w.T.Fatal(err)
	}
	env.Caller = caller
	return w.Apply(env)
}

// Apply applies one command, as its caller sends it, a second later than the one before.
func (w *World) Apply(env command.Envelope) command.Result {
	w.T.Helper()
	w.Now = w.Now.Add(time.Second)
	w.index++
	env.Time = w.Now
	result, err := w.State.Apply(w.index, env)
	if err != nil {
		w.T.Fatal(err)
	}
	w.State.Commit(w.index)
	return result
}

func (w *World) Must(caller command.Caller, cmd command.Command) command.Result {
	w.T.Helper()
	result := w.apply(caller, cmd)
	if result.Rejection != nil {
		w.T.Fatal(result.Rejection)
	}
	for _, item := range result.Items {
		if item.Code != "" {
			w.T.Fatal(item)
		}
	}
	return result
}

// Case runs a named case on this world as a subtest: what fails in it is named after the case. Cases share the world,
// in their order.
func (w *World) Case(name string, f func(t *testing.T)) {
	w.T.Helper()
	outer := w.T.(*testing.T)
	outer.Run(name, func(t *testing.T) {
		w.T = t
		defer func() { w.T = outer }()
		f(t)
	})
}

// answer is what a door sends back.
type answer struct {
	Returned int64
	Outputs  map[string]any
	Wait     int64
	Command  command.Command
}

// call calls a procedure as a door does.
func (w *World) Call(caller command.Caller, name, object string) (answer, error) {
	w.T.Helper()
	p, err := procedure.Find(name)
	if err != nil {
		return answer{}, err
	}
	args, err := p.Bind(Raw(w.T, object))
	if err != nil {
		return answer{}, err
	}
	r := w.State.Reader()
	plan, err := p.Plan(context.Background(), &procedure.Call{Caller: caller, Reader: r, Blobs: w, Seal: w.Seal,
		Config: w.Config}, args)
	var no *command.Rejection
	if errors.As(err, &no) && p.Authorize(r, caller) == nil && !slices.Contains(p.Checks, no.Code) {
		w.T.Errorf("the plan of %s refuses with %s, which its declaration does not name", name, no.Code)
	}
	if err != nil {
		return answer{}, err
	}
	a := answer{Command: plan.Command}
	if no := catalog.DryRun(r, caller, plan.Command); no != nil {
		return a, no
	}
	if plan.Before != nil {
		if err := plan.Before(context.Background()); err != nil {
			return a, err
		}
	}
	result := w.apply(caller, plan.Command)
	if result.Rejection != nil {
		return a, result.Rejection
	}
	a.Outputs, a.Returned = p.Results(result)
	a.Wait = p.Waits(w.State.Reader(), args)
	return a, nil
}

func Raw(t testing.TB, object string) procedure.Raw {
	t.Helper()
	var r map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &r); err != nil {
		t.Fatalf("%s: %v", object, err)
	}
	return sqltype.NewSecret(r)
}

// ok calls a procedure that must succeed.
func (w *World) Ok(caller command.Caller, procedure, format string, args ...any) answer {
	w.T.Helper()
	a, err := w.Call(caller, procedure, fmt.Sprintf(format, args...))
	if err != nil {
		w.T.Fatalf("%s: %v", procedure, err)
	}
	return a
}

func (w *World) Seal(secret sqltype.Secret[string], associated string) (*command.Sealed, error) {
	w.sealed++
	nonce := make([]byte, w.key.NonceSize())
	nonce[0], nonce[1] = byte(w.sealed), byte(w.sealed>>8)
	return &command.Sealed{KeyID: "k1", Nonce: nonce, Ciphertext: w.key.Seal(nil, nonce,
		[]byte(secret.Reveal()), []byte(associated))}, nil
}

func (w *World) Unseal(s *command.Sealed, associated string) (sqltype.Secret[string], error) {
	plain, err := w.key.Open(nil, s.Nonce, s.Ciphertext, []byte(associated))
	if err != nil {
		return sqltype.Secret[string]{}, err
	}
	return sqltype.NewSecret(string(plain)), nil
}

func (w *World) Store(_ context.Context, r io.Reader, limit int64) (string, int64, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return "", 0, err
	}
	if int64(len(b)) > limit {
		return "", 0, fmt.Errorf("blob: %w", command.ErrBlobTooLarge)
	}
	sum := sha256.Sum256(b)
	digest := hex.EncodeToString(sum[:])
	w.Blobs[digest] = b
	return digest, int64(len(b)), nil
}

func (w *World) Confirm(_ context.Context, digest string) (int64, error) {
	b, ok := w.Blobs[digest]
	if !ok {
		return 0, fmt.Errorf("%s: %w", digest, command.ErrNoBlob)
	}
	return int64(len(b)), nil
}

type memoryBlob struct{ *bytes.Reader }

func (memoryBlob) Close() error { return nil }

func (w *World) Open(_ context.Context, digest string) (procedure.ReaderAtCloser, int64, error) {
	b, ok := w.Blobs[digest]
	if !ok {
		return nil, 0, fmt.Errorf("%s: %w", digest, command.ErrNoBlob)
	}
	return memoryBlob{bytes.NewReader(b)}, int64(len(b)), nil
}

func (w *World) OpenSegment(_ context.Context, digest string) (io.ReadCloser, error) {
	b, ok := w.Blobs[digest]
	if !ok {
		return nil, errors.New("no such segment")
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// project is the project that most tests deploy.
func Project(name string) *ispac.Project {
	return &ispac.Project{
		ID: "AAAAAAAA-0000-4000-8000-000000000001", Name: name, Description: "nightly", ProtectionLevel: ispac.ServerStorage,
		FormatVersion: 1, VersionMajor: 2,
		Parameters: []ispac.Parameter{
			{Name: "Server", Type: ispac.String, HasValue: true, Value: "db1"},
			{Name: "Secret", Type: ispac.String, Sensitive: true, HasValue: true, Value: "s3cret"},
			{Name: "Batch", Type: ispac.Int32, Required: true, HasValue: true, Value: int64(7)},
			{Name: "CM.db.ConnectionString", Type: ispac.String, HasValue: true, Value: "Data Source=."},
			{Name: "CM.db.Password", Type: ispac.String, Sensitive: true},
		},
		Packages: []ispac.Package{
			{Name: "Load.dtsx", EntryPoint: true, ID: "AAAAAAAA-0000-4000-8000-000000000002", FormatVersion: 8, VersionBuild: 3,
				Parameters: []ispac.Parameter{
					{Name: "LoadDate", Type: ispac.DateTime, HasValue: true, Value: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)},
					{Name: "Ratio", Type: ispac.Decimal, HasValue: true, Value: "1.5"},
					{Name: "Flag", Type: ispac.Boolean, HasValue: true, Value: true},
					{Name: "Level", Type: ispac.Byte},
					{Name: "Pin", Type: ispac.Int32, Sensitive: true},
					{Name: "Big", Type: ispac.UInt64, HasValue: true, Value: uint64(1<<64 - 1)},
				}},
			{Name: "Child.dtsx", FormatVersion: 8},
		},
	}
}

func Pack(t testing.TB, p *ispac.Project) []byte {
	t.Helper()
	var b bytes.Buffer
	err := ispac.Write(&b, p, func(part string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("<package/>")), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// deploy makes the folder ETL, if needed, and deploys the project into it.
func (w *World) Deploy(p *ispac.Project) answer {
	w.T.Helper()
	if _, ok := w.State.Reader().Folder("ETL"); !ok {
		w.Ok(Alice, "create_folder", `{"folder_name":"ETL"}`)
	}
	return w.Ok(Alice, "deploy_project", `{"folder_name":"ETL","project_name":%q,"project_stream":%q}`, p.Name,
		base64.StdEncoding.EncodeToString(Pack(w.T, p)))
}

// create makes an execution of Load.dtsx.
func (w *World) Create(caller command.Caller, more string) int64 {
	w.T.Helper()
	a := w.Ok(caller, "create_execution", `{"folder_name":"etl","project_name":"nightly","package_name":"load.dtsx"%s}`,
		more)
	return a.Outputs["execution_id"].(int64)
}

// ready makes an execution that lacks nothing, and starts it.
func (w *World) Started(caller command.Caller) int64 {
	w.T.Helper()
	id := w.Create(caller, "")
	w.Ok(caller, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":20,"parameter_name":"Batch","parameter_value":1}`, id)
	w.Ok(caller, "start_execution", `{"execution_id":%d}`, id)
	return id
}

func (w *World) Register(id, machine string) {
	w.T.Helper()
	w.Must(command.Caller{Kind: "worker", Name: machine}, &command.RegisterWorker{
		ID: id, CertName: machine, Incarnation: machine + "-1", MachineID: machine, BootID: "b", Version: "1",
		MachineName: machine,
		UserAccount: "svc", DisplayName: machine, MaxTaskCount: 2, LeaseMs: 60000, TaskHeartbeatMs: 10000,
		AgentHeartbeatMs: 60000,
		ToleranceMs:      600000, Extensions: []string{".dtsx"}, Bitness: []int{64},
	})
	w.Ok(Alice, "enable_worker_agent", `{"WorkerAgentId":%q}`, id)
}

// grant gives the next attempt of an execution to a worker.
func (w *World) Grant(id int64, attempt int, worker, machine string) {
	w.T.Helper()
	w.Must(command.Caller{Kind: "worker", Name: machine}, &command.Exchange{Worker: worker, Incarnation: machine + "-1",
		Grants: []command.GrantOrder{{AttemptRef: command.AttemptRef{TaskID: id, Attempt: attempt}, GiveUpAfterMs: 60000}}})
}

func (w *World) Report(id int64, attempt int, worker, machine string, outcome command.Outcome, exit int) {
	w.T.Helper()
	w.Must(command.Caller{Kind: "worker", Name: machine}, &command.Exchange{Worker: worker, Incarnation: machine + "-1",
		Ended: []command.Report{{AttemptRef: command.AttemptRef{TaskID: id, Attempt: attempt}, Outcome: outcome,
			ExitCode: exit, Message: "bye"}}})
}

// output appends messages of an attempt, as the packer does.
func (w *World) Output(worker string, parts ...segment.Part) {
	w.T.Helper()
	b, err := segment.Encode(parts)
	if err != nil {
		w.T.Fatal(err)
	}
	digest, size, _ := w.Store(context.Background(), bytes.NewReader(b), 1<<20)
	cmd := &command.AppendMessages{Segment: digest, Size: size}
	for i, p := range parts {
		cmd.Parts = append(cmd.Parts, command.MessagePart{TaskID: p.TaskID, Attempt: p.Attempt, Worker: worker,
			FirstSeq: p.FirstSeq, Count: len(p.Messages), Part: i})
	}
	w.Must(command.Caller{Kind: "master", Name: "m1"}, cmd)
}

// query reads all pages of a view and checks that each row is of the columns' types.
func (w *World) Query(caller command.Caller, name string, r view.Request) []map[string]any {
	w.T.Helper()
	v, err := view.Find(name)
	if err != nil {
		w.T.Fatal(err)
	}
	r.Reader, r.Live, r.Messages, r.Caller = w.State.Reader(), w.Live, w, caller
	var all []map[string]any
	for range 1000 {
		page, err := view.Select(context.Background(), v, r)
		if err != nil {
			w.T.Fatalf("%s: %v", name, err)
		}
		CheckRows(w.T, name, page)
		b, err := page.AppendJSON([]byte{'{'})
		if err != nil {
			w.T.Fatalf("%s: %v", name, err)
		}
		var got struct{ Rows []map[string]any }
		d := json.NewDecoder(bytes.NewReader(append(b, '}')))
		d.UseNumber()
		if err := d.Decode(&got); err != nil {
			w.T.Fatalf("%s: %v in %s", name, err, b)
		}
		all = append(all, got.Rows...)
		if r.PageToken = page.NextPageToken; r.PageToken == "" {
			return all
		}
	}
	w.T.Fatalf("%s: the pages do not end", name)
	return nil
}

// rejected requires a refusal with that code, which Codes describes.
func Rejected(t *testing.T, err error, code string) *command.Rejection {
	t.Helper()
	var r *command.Rejection
	ok := errors.As(err, &r)
	if !ok || r.Code != code && command.Family(r.Code) != code {
		t.Fatalf("got %v, want the code %s", err, code)
	}
	if registry.CodeOf(code).Doc == "" {
		t.Fatalf("the code %s is not described", code)
	}
	return r
}

// Refuses calls a procedure that must be refused, in words, and change nothing.
func (w *World) Refuses(caller command.Caller, procedure, object, code, says string) {
	w.T.Helper()
	before := w.State.Index()
	_, err := w.Call(caller, procedure, object)
	var r *command.Rejection
	ok := errors.As(err, &r)
	if !ok || r.Code != code && command.Family(r.Code) != code ||
		!strings.Contains(registry.Detail(registry.HTTP, r), says) {
		w.T.Errorf("%s %s:\n have %v\n want %s with %q", procedure, object, err, code, says)
		return
	}
	Rejected(w.T.(*testing.T), err, code)
	if w.State.Index() != before {
		w.T.Errorf("%s %s was refused by the state, not by its plan", procedure, object)
	}
}
