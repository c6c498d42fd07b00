package catalog

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
	"strings"
	"testing"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/ispac"
	"scaleout/fsm/segment"
)

// world is a catalog with everything around it that plans and views use, in memory: procedures are called as a door
// calls them, and their commands applied to a real state.
type world struct {
	t      testing.TB
	state  *State
	index  uint64
	now    command.Time
	blobs  map[string][]byte
	key    cipher.AEAD
	sealed int
	live   Live
	config Config
}

var (
	bob   = command.Caller{Kind: "user", Name: "bob", Roles: []string{command.RoleExecutor}}
	carol = command.Caller{Kind: "user", Name: "carol", Roles: []string{command.RoleExecutor}}
	rita  = command.Caller{Kind: "user", Name: "rita", Roles: []string{command.RoleReader}}
)

const (
	workerOne = "11111111-1111-4111-8111-111111111111"
	workerTwo = "22222222-2222-4222-8222-222222222222"
)

func newWorld(t testing.TB) *world {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	key, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, state: NewState(), now: command.At(time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)), blobs: map[string][]byte{}, key: key,
		config: Config{RetryDelay: 5 * time.Second, MaxProjectBytes: 1 << 20, Server: "MSSQLSERVER"}}
	w.must(alice, &command.InitCluster{ClusterID: "c1", Level: command.Level})
	return w
}

// apply applies one command a second later than the one before.
func (w *world) apply(caller command.Caller, cmd command.Command) command.Result {
	w.t.Helper()
	env, err := command.Wrap(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	w.now = w.now.Add(time.Second)
	w.index++
	env.Time, env.Caller = w.now, caller
	result, err := w.state.Apply(w.index, env)
	if err != nil {
		w.t.Fatal(err)
	}
	w.state.Commit(w.index)
	return result
}

func (w *world) must(caller command.Caller, cmd command.Command) command.Result {
	w.t.Helper()
	result := w.apply(caller, cmd)
	if result.Rejection != nil {
		w.t.Fatal(result.Rejection)
	}
	for _, item := range result.Items {
		if item.Code != "" {
			w.t.Fatal(item)
		}
	}
	return result
}

// answer is what a door sends back.
type answer struct {
	returned int64
	outputs  map[string]any
	wait     int64
	command  command.Command
}

// call calls a procedure as a door does.
func (w *world) call(caller command.Caller, procedure, object string) (answer, error) {
	w.t.Helper()
	p, err := FindProcedure(procedure)
	if err != nil {
		return answer{}, err
	}
	args, err := p.Bind(raw(w.t, object))
	if err != nil {
		return answer{}, err
	}
	plan, err := p.Plan(context.Background(), &Call{
		Args: args, Caller: caller, Now: w.now, View: w.state.Reader(), Blobs: w, Seal: w.seal, Open: w.open,
		NewGUID: func() string { return workerOne }, Config: w.config,
	})
	if err != nil {
		return answer{}, err
	}
	a := answer{wait: plan.Wait, command: plan.Command}
	result := w.apply(caller, plan.Command)
	if result.Rejection != nil {
		return a, result.Rejection
	}
	if plan.Outputs != nil {
		a.outputs, a.returned = plan.Outputs(result)
	}
	return a, nil
}

func raw(t testing.TB, object string) Raw {
	t.Helper()
	var r Raw
	if err := json.Unmarshal([]byte(object), &r); err != nil {
		t.Fatalf("%s: %v", object, err)
	}
	return r
}

// ok calls a procedure that must succeed.
func (w *world) ok(caller command.Caller, procedure, format string, args ...any) answer {
	w.t.Helper()
	a, err := w.call(caller, procedure, fmt.Sprintf(format, args...))
	if err != nil {
		w.t.Fatalf("%s: %v", procedure, err)
	}
	return a
}

func (w *world) seal(plain []byte, associated string) (*command.Sealed, error) {
	w.sealed++
	nonce := make([]byte, w.key.NonceSize())
	nonce[0], nonce[1] = byte(w.sealed), byte(w.sealed>>8)
	return &command.Sealed{KeyID: "k1", Nonce: nonce, Ciphertext: w.key.Seal(nil, nonce, plain, []byte(associated))}, nil
}

func (w *world) open(s *command.Sealed, associated string) ([]byte, error) {
	return w.key.Open(nil, s.Nonce, s.Ciphertext, []byte(associated))
}

func (w *world) Store(_ context.Context, r io.Reader, limit int64) (string, int64, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return "", 0, err
	}
	if int64(len(b)) > limit {
		return "", 0, fmt.Errorf("blob: %w", command.ErrBlobTooLarge)
	}
	sum := sha256.Sum256(b)
	digest := hex.EncodeToString(sum[:])
	w.blobs[digest] = b
	return digest, int64(len(b)), nil
}

func (w *world) Confirm(_ context.Context, digest string) (int64, error) {
	b, ok := w.blobs[digest]
	if !ok {
		return 0, fmt.Errorf("%s: %w", digest, command.ErrNoBlob)
	}
	return int64(len(b)), nil
}

type memoryBlob struct{ *bytes.Reader }

func (memoryBlob) Close() error { return nil }

func (w *world) Open(_ context.Context, digest string) (ReaderAtCloser, int64, error) {
	b, ok := w.blobs[digest]
	if !ok {
		return nil, 0, fmt.Errorf("%s: %w", digest, command.ErrNoBlob)
	}
	return memoryBlob{bytes.NewReader(b)}, int64(len(b)), nil
}

func (w *world) OpenSegment(_ context.Context, digest string) (io.ReadCloser, error) {
	b, ok := w.blobs[digest]
	if !ok {
		return nil, errors.New("no such segment")
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// project is the project that most tests deploy.
func project(name string) *ispac.Project {
	return &ispac.Project{
		ID: "AAAAAAAA-0000-4000-8000-000000000001", Name: name, Description: "nightly", ProtectionLevel: ispac.ServerStorage, FormatVersion: 1, VersionMajor: 2,
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

func pack(t testing.TB, p *ispac.Project) []byte {
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
func (w *world) deploy(p *ispac.Project) answer {
	w.t.Helper()
	if _, ok := w.state.Reader().Folder("ETL"); !ok {
		w.ok(alice, "create_folder", `{"folder_name":"ETL"}`)
	}
	return w.ok(alice, "deploy_project", `{"folder_name":"ETL","project_name":%q,"project_stream":%q}`, p.Name, base64.StdEncoding.EncodeToString(pack(w.t, p)))
}

// create makes an execution of Load.dtsx.
func (w *world) create(caller command.Caller, more string) int64 {
	w.t.Helper()
	a := w.ok(caller, "create_execution", `{"folder_name":"etl","project_name":"nightly","package_name":"load.dtsx"%s}`, more)
	return a.outputs["execution_id"].(int64)
}

// ready makes an execution that lacks nothing, and starts it.
func (w *world) started(caller command.Caller) int64 {
	w.t.Helper()
	id := w.create(caller, "")
	w.ok(caller, "set_execution_parameter_value", `{"execution_id":%d,"object_type":20,"parameter_name":"Batch","parameter_value":1}`, id)
	w.ok(caller, "start_execution", `{"execution_id":%d}`, id)
	return id
}

func (w *world) register(id, machine string) {
	w.t.Helper()
	w.must(command.Caller{Kind: "worker", Name: machine}, &command.RegisterWorker{
		ID: id, CertName: machine, Instance: machine + "-1", MachineID: machine, BootID: "b", Version: "1", MachineName: machine,
		UserAccount: "svc", DisplayName: machine, MaxTaskCount: 2, LeaseMs: 60000, TaskHeartbeatMs: 10000, AgentHeartbeatMs: 60000,
		ToleranceMs: 600000, Extensions: []string{".dtsx"}, Bitness: []int{64},
	})
	w.ok(alice, "enable_worker_agent", `{"WorkerAgentId":%q}`, id)
}

// grant gives the next attempt of an execution to a worker.
func (w *world) grant(id int64, attempt int, worker, machine string) {
	w.t.Helper()
	w.must(command.Caller{Kind: "worker", Name: machine}, &command.Exchange{Worker: worker, Instance: machine + "-1",
		Grants: []command.GrantOrder{{AttemptRef: command.AttemptRef{TaskID: id, Attempt: attempt}, GiveUpAfterMs: 60000}}})
}

func (w *world) report(id int64, attempt int, worker, machine string, outcome command.Outcome, exit int) {
	w.t.Helper()
	w.must(command.Caller{Kind: "worker", Name: machine}, &command.Exchange{Worker: worker, Instance: machine + "-1",
		Ended: []command.Report{{AttemptRef: command.AttemptRef{TaskID: id, Attempt: attempt}, Outcome: outcome, ExitCode: exit, Message: "bye"}}})
}

// output appends messages of an attempt, as the packer does.
func (w *world) output(worker string, parts ...segment.Part) {
	w.t.Helper()
	b, err := segment.Encode(parts)
	if err != nil {
		w.t.Fatal(err)
	}
	digest, size, _ := w.Store(context.Background(), bytes.NewReader(b), 1<<20)
	cmd := &command.AppendMessages{Segment: digest, Size: size}
	for i, p := range parts {
		cmd.Parts = append(cmd.Parts, command.MessagePart{TaskID: p.TaskID, Attempt: p.Attempt, Worker: worker, FirstSeq: p.FirstSeq, Count: len(p.Messages), Part: i})
	}
	w.must(command.Caller{Kind: "master", Name: "m1"}, cmd)
}

// query reads all pages of a view and checks that each row is of the columns' types.
func (w *world) query(caller command.Caller, view string, r Request) []map[string]any {
	w.t.Helper()
	v, err := FindView(view)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Reader, r.Live, r.Messages, r.Caller, r.Server = w.state.Reader(), w.live, w, caller, w.config.Server
	var all []map[string]any
	for range 1000 {
		page, err := Select(context.Background(), v, r)
		if err != nil {
			w.t.Fatalf("%s: %v", view, err)
		}
		b, err := page.AppendRows(nil)
		if err != nil {
			w.t.Fatalf("%s: %v", view, err)
		}
		for _, row := range page.Rows {
			for i, c := range v.Columns {
				if row[i] == nil && !c.Nullable {
					w.t.Fatalf("%s.%s is NULL in %v", view, c.Name, row)
				}
			}
		}
		var rows []map[string]any
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&rows); err != nil {
			w.t.Fatalf("%s: %v in %s", view, err, b)
		}
		all = append(all, rows...)
		if r.PageToken = page.NextPageToken; r.PageToken == "" {
			return all
		}
	}
	w.t.Fatalf("%s: the pages do not end", view)
	return nil
}
