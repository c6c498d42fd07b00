//go:build unix

package worker

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scaleout/cluster/pki"
	"scaleout/cmd/worker/guard"
	"scaleout/httpapi/wire"
)

func TestMain(m *testing.M) {
	if guard.IsGuard(os.Args) {
		if gate := os.Getenv(silentEnv); gate != "" {
			silent(gate)
		}
		os.Exit(guard.Main(os.Args))
	}
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// fakeMaster is a cluster as one worker sees it, over real TLS. Its tasks are the state. It delivers a grant again
// until the worker holds or reports the attempt, as the masters do.
type fakeMaster struct {
	giveUp int64 // GiveUpAfterMs of the grants that are made next; 0: a minute
	t      testing.TB
	server *httptest.Server
	certs  string // the worker's credentials

	mu        sync.Mutex
	changed   chan struct{} // closed at the next change
	tasks     []*fakeTask
	blobs     map[string][]byte
	fetched   int // downloads of blobs
	messages  map[wire.AttemptRef][]wire.Message
	registers []wire.Register // the registrations so far
	sequence  uint64
	overtaken chan struct{} // ends the held poll
	held      int           // polls
	mostHeld  int
	slots     int // of the last exchange
	problems  []string

	// What a test changes.
	loseAnswers  int           // so many answers with grants are lost after the grant
	deliverAgain bool          // the next answer has the grant of an attempt that the worker holds
	noLeader     bool          // every call is refused with no_leader
	holdSilently bool          // exchanges without a hold get no answer, as from masters without a leader
	heldSilently int           // how many such exchanges there were
	refusal      *wire.Problem // the answer to registrations
}

// fakeTask is one task of the state.
type fakeTask struct {
	grant   wire.Grant
	granted bool
	stop    bool // the next answer asks for a stop
	fenced  bool // the masters have given the attempt up
	ended   *wire.Ended
	reports int // how many reports came
}

func (k *fakeTask) attemptRef() wire.AttemptRef {
	return wire.AttemptRef{TaskID: k.grant.TaskID, Attempt: k.grant.Attempt}
}

var authority = sync.OnceValues(func() (*pki.Authority, error) {
	dir, err := os.MkdirTemp("", "worker-test-ca-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return pki.Init(dir, time.Now())
})

func newFakeMaster(t testing.TB) *fakeMaster {
	t.Helper()
	ca, err := authority()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, r := range []pki.Request{
		{Role: pki.RoleMaster, Name: "master", Hosts: []string{"127.0.0.1"}}, {Role: pki.RoleWorker, Name: "worker"},
	} {
		issued, err := ca.Issue(r, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := issued.WriteFiles(filepath.Join(dir, r.Name)); err != nil {
			t.Fatal(err)
		}
	}
	m := &fakeMaster{
		t: t, changed: make(chan struct{}), blobs: map[string][]byte{}, messages: map[wire.AttemptRef][]wire.Message{},
		certs: filepath.Join(dir, "worker"),
	}
	creds := credentials(t, filepath.Join(dir, "master"))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/workers/register", m.register)
	mux.HandleFunc("POST /v1/workers/{id}/exchange", m.exchange)
	mux.HandleFunc("POST /v1/workers/{id}/messages", m.takeMessages)
	mux.HandleFunc("GET /v1/blobs/{digest}", m.blob)
	m.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if _, err := creds.Verify(r.TLS.PeerCertificates, x509.ExtKeyUsageClientAuth); err != nil {
			m.problem(rw, wire.Problem{Status: 401, Code: wire.CodeCertificateRequired, Detail: err.Error()})
			return
		}
		mux.ServeHTTP(rw, r)
	}))
	m.server.TLS = creds.ServerTLS("http/1.1")
	m.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	m.server.StartTLS()
	t.Cleanup(func() {
		m.server.CloseClientConnections()
		m.server.Close()
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, p := range m.problems {
			t.Error(p)
		}
	})
	return m
}

func credentials(t testing.TB, dir string) *pki.Credentials {
	t.Helper()
	c, err := pki.OpenCredentials(pki.CredentialsConfig{Files: pki.Files{
		CA: filepath.Join(dir, pki.FileCA), Cert: filepath.Join(dir, pki.FileCert), Key: filepath.Join(dir, pki.FileKey),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// update changes the state under the lock and wakes everyone who waits for a change.
func (m *fakeMaster) update(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	m.notifyAll()
}

func (m *fakeMaster) notifyAll() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// until waits for a condition, which is evaluated under the lock.
func (m *fakeMaster) until(what string, ok func() bool) {
	m.t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		m.mu.Lock()
		done, changed := ok(), m.changed
		m.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-deadline:
			m.t.Fatalf("never: %s", what)
		}
	}
}

func (m *fakeMaster) problem(rw http.ResponseWriter, p wire.Problem) {
	rw.Header().Set("Content-Type", wire.ContentProblem)
	rw.WriteHeader(p.Status)
	json.NewEncoder(rw).Encode(p)
}

func (m *fakeMaster) read(rw http.ResponseWriter, r *http.Request, v interface{ Validate() error }) bool {
	err := wire.Decode(r.Body, 8<<20, v)
	if err == nil {
		err = v.Validate()
	}
	m.mu.Lock()
	noLeader := m.noLeader
	var bad *wire.BadInput
	if errors.As(err, &bad) { // other errors are those of canceled calls
		m.problems = append(m.problems, r.URL.Path+": "+err.Error())
	}
	m.mu.Unlock()
	if err != nil {
		m.problem(rw, wire.Problem{Status: 400, Code: wire.CodeInvalidArgument, Detail: err.Error()})
	} else if noLeader {
		m.problem(rw, wire.Problem{Status: 503, Code: wire.CodeNoLeader, Detail: "there is no leader in this test"})
	}
	return err == nil && !noLeader
}

func answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	json.NewEncoder(rw).Encode(v)
}

func (m *fakeMaster) find(r wire.AttemptRef) *fakeTask {
	for _, k := range m.tasks {
		if k.attemptRef() == r {
			return k
		}
	}
	return nil
}

func (m *fakeMaster) settle(reports []wire.Ended) (settled, fenced []wire.AttemptRef) {
	for _, e := range reports {
		ref := wire.AttemptRef{TaskID: e.TaskID, Attempt: e.Attempt}
		k := m.find(ref)
		if k != nil {
			k.reports++
		}
		if k == nil || k.fenced || !k.granted {
			fenced = append(fenced, ref)
			continue
		}
		if k.ended == nil {
			k.ended = &e
		}
		settled = append(settled, ref)
	}
	return settled, fenced
}

func (m *fakeMaster) register(rw http.ResponseWriter, r *http.Request) {
	var req wire.Register
	if !m.read(rw, r, &req) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.notifyAll()
	if m.refusal != nil {
		m.problem(rw, *m.refusal)
		return
	}
	m.registers = append(m.registers, req)
	m.sequence = 0
	a := wire.RegisterAnswer{Enabled: true, Masters: []string{m.server.URL}}
	a.Settled, a.Fenced = m.settle(req.Ended)
	for _, ref := range req.Running {
		if k := m.find(ref); k != nil && k.granted && !k.fenced {
			a.Adopted = append(
				a.Adopted,
				wire.Adopted{TaskID: ref.TaskID, Attempt: ref.Attempt, GiveUpAfterMs: k.grant.GiveUpAfterMs},
			)
		} else {
			a.Fenced = append(a.Fenced, ref)
		}
	}
	answer(rw, a)
}

func (m *fakeMaster) exchange(rw http.ResponseWriter, r *http.Request) {
	var req wire.Exchange
	if !m.read(rw, r, &req) {
		return
	}
	if req.WaitMs > 0 {
		rw.WriteHeader(http.StatusProcessing)
	}
	until := time.After(time.Duration(req.WaitMs) * time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holdSilently && req.WaitMs > 0 { // after trouble the worker asks for no hold
		m.problem(rw, wire.Problem{Status: 400, Code: wire.CodeInvalidArgument, Detail: "trouble"})
		return
	}
	if m.holdSilently {
		rw.WriteHeader(http.StatusProcessing)
		m.heldSilently++
		m.notifyAll()
		m.mu.Unlock()
		<-r.Context().Done()
		m.mu.Lock()
		return
	}
	if req.Sequence <= m.sequence {
		m.problem(rw, wire.Problem{Status: 409, Code: "stale_sequence", Detail: "stale"})
		return
	}
	m.sequence, m.slots = req.Sequence, req.Slots
	if m.overtaken != nil {
		close(m.overtaken)
	}
	over := make(chan struct{})
	m.overtaken = over
	m.held++
	m.mostHeld = max(m.mostHeld, m.held)
	defer func() { m.held-- }()
	a := wire.ExchangeAnswer{Masters: []string{m.server.URL}, Enabled: true}
	a.Settled, a.Fenced = m.settle(req.Ended)
	if len(req.Ended) > 0 {
		m.notifyAll()
	}
	for {
		m.fill(&a, req)
		if len(a.Grants)+len(a.Stop)+len(a.Settled)+len(a.Fenced) > 0 {
			break
		}
		changed, end := m.changed, false
		m.mu.Unlock()
		select {
		case <-changed:
		case <-over:
			end = true
		case <-until:
			end = true
		case <-r.Context().Done():
			end = true
		}
		m.mu.Lock()
		if end {
			break
		}
	}
	for _, ref := range req.Running {
		if k := m.find(ref); k != nil && k.granted && !k.fenced && k.ended == nil {
			a.Renewed = append(a.Renewed, ref)
		}
	}
	if len(a.Grants) > 0 && m.loseAnswers > 0 {
		m.loseAnswers--
		m.problem(rw, wire.Problem{Status: 500, Code: wire.CodeInternal, Detail: "the answer is lost"})
		return
	}
	answer(rw, a)
}

// fill adds what the worker shall do. Grants that it does not hold are delivered again, before new ones.
func (m *fakeMaster) fill(a *wire.ExchangeAnswer, req wire.Exchange) {
	holds := len(req.Running)
	for _, k := range m.tasks {
		has := slices.Contains(req.Running, k.attemptRef())
		switch {
		case k.ended != nil:
		case has && k.fenced:
			a.Fenced = append(a.Fenced, k.attemptRef())
		case has && k.stop:
			a.Stop = append(a.Stop, k.attemptRef())
			k.stop = false
		case has && m.deliverAgain:
			m.deliverAgain = false
			a.Grants = append(a.Grants, k.grant)
		case k.granted && !has && !k.fenced:
			a.Grants = append(a.Grants, k.grant)
			holds++
		case !k.granted && holds < req.Slots:
			k.granted = true
			a.Grants = append(a.Grants, k.grant)
			holds++
		}
	}
}

func (m *fakeMaster) takeMessages(rw http.ResponseWriter, r *http.Request) {
	var req wire.Messages
	if !m.read(rw, r, &req) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.notifyAll()
	var a wire.MessagesAnswer
	for _, item := range req.Items {
		if item.TaskID >= 1000 {
			p := wire.Problem{Status: 409, Code: wire.CodeFenced, Detail: "not this worker's", Accepted: a.Accepted}
			if item.TaskID == 1000 { // some refusals name the attempt, others do not
				p.Accepted = append(p.Accepted, wire.Accepted{TaskID: item.TaskID, Attempt: item.Attempt})
			}
			m.problem(rw, p)
			return
		}
		ref := wire.AttemptRef{TaskID: item.TaskID, Attempt: item.Attempt}
		next := int64(len(m.messages[ref])) + 1
		if item.FirstSeq > next {
			m.problem(rw, wire.Problem{Status: 409, Code: wire.CodeGap, NextSeq: &next})
			return
		}
		skip := min(next-item.FirstSeq, int64(len(item.Messages)))
		m.messages[ref] = append(m.messages[ref], item.Messages[skip:]...)
		a.Accepted = append(
			a.Accepted,
			wire.Accepted{TaskID: ref.TaskID, Attempt: ref.Attempt, NextSeq: int64(len(m.messages[ref])) + 1},
		)
	}
	answer(rw, a)
}

func (m *fakeMaster) blob(rw http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fetched++
	data, ok := m.blobs[r.PathValue("digest")]
	if !ok {
		m.problem(rw, wire.Problem{Status: 404, Code: wire.CodeNotFound, Detail: "no such blob"})
		return
	}
	rw.Write(data)
}

// deploy stores a project of scripts and returns its digest.
func (m *fakeMaster) deploy(parts map[string]string) string {
	m.t.Helper()
	file, digest := projectOf(m.t, parts)
	m.update(func() { m.blobs[digest] = file })
	return digest
}

// run adds a task that runs one package of a project.
func (m *fakeMaster) run(id int64, pkg, digest string, params ...wire.Parameter) *fakeTask {
	k := &fakeTask{grant: wire.Grant{
		TaskID: id, Attempt: 1, ExecutionID: id, Folder: "F", Project: "P", Package: pkg, ProjectBlob: digest,
		Parameters: []wire.Parameter{}, Options: []wire.Parameter{},
	}}
	for _, p := range params {
		if p.ObjectType == 50 {
			k.grant.Options = append(k.grant.Options, p)
		} else {
			k.grant.Parameters = append(k.grant.Parameters, p)
		}
	}
	m.update(func() {
		k.grant.GiveUpAfterMs = cmp.Or(m.giveUp, 60_000)
		m.tasks = append(m.tasks, k)
	})
	return k
}

// script adds a task that runs a shell script.
func (m *fakeMaster) script(id int64, text string, params ...wire.Parameter) *fakeTask {
	m.t.Helper()
	return m.run(id, "p.sh", m.deploy(map[string]string{"p.sh": text}), params...)
}

// texts returns the texts of a task's messages.
func (m *fakeMaster) texts(k *fakeTask) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var texts []string
	for _, msg := range m.messages[k.attemptRef()] {
		texts = append(texts, msg.Text)
	}
	return texts
}

// ended waits for the report of a task.
func (m *fakeMaster) ended(k *fakeTask) wire.Ended {
	m.t.Helper()
	m.until("the attempt is reported", func() bool { return k.ended != nil })
	return *k.ended
}
