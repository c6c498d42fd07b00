package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/segment"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

func registration() wire.Register {
	return wire.Register{
		AgentID: strings.ToLower(agent), Incarnation: "i1", MachineID: "m", BootID: "b", MachineName: "host",
		MaxTaskCount: 2, LeaseMs: 60_000,
		TaskHeartbeatMs: 10_000, AgentHeartbeatMs: 10_000, ErrorToleranceMs: 600_000, Extensions: []string{".SH"},
		Bitness: []int{64},
	}
}

func TestRegister(t *testing.T) {
	w := newWorld(t, 2)
	var seen *command.RegisterWorker
	f := func(cmd *command.RegisterWorker) (command.Registration, error) {
		seen = cmd
		return command.Registration{
			Enabled: true,
			Adopted: []command.Adopted{
				{AttemptRef: command.AttemptRef{TaskID: 1, Attempt: 2}, GiveUpAfter: time.Minute},
			},
			Settled: []command.AttemptRef{{TaskID: 3, Attempt: 1}}, Fenced: []command.AttemptRef{{TaskID: 4, Attempt: 1}},
		}, nil
	}
	w.nodes[0].register.Store(&f)
	in := registration()
	in.Running = []wire.AttemptRef{{TaskID: 1, Attempt: 2}}
	in.Ended = []wire.Ended{{TaskID: 3, Attempt: 1, Outcome: wire.OutcomeFailed, ExitCode: 3, Message: "m"}}
	a, _, err := w.client(worker1, 1).Register(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Enabled || a.Adopted[0] != (wire.Adopted{TaskID: 1, Attempt: 2, GiveUpAfterMs: 60_000}) ||
		a.Settled[0].TaskID != 3 || a.Fenced[0].TaskID != 4 || a.Masters[0] != "https://a:1" {
		t.Fatalf("%+v", a)
	}
	if seen.ID != strings.ToUpper(agent) || seen.CertName != "worker-1" || seen.Extensions[0] != ".sh" ||
		seen.Ended[0].ExitCode != 3 || seen.Running[0].Attempt != 2 || seen.ToleranceMs != 600_000 {
		t.Fatalf("%+v", seen)
	}
	for code, status := range map[string]int{"lease_too_short": 422, "agent_id_in_use": 409, "agent_id_taken": 403} {
		f := func(*command.RegisterWorker) (command.Registration, error) {
			return command.Registration{}, &command.Rejection{Code: code, Args: []string{"why"}}
		}
		w.nodes[0].register.Store(&f)
		_, _, err := w.client(worker1, 0).Register(t.Context(), registration())
		var e *client.Error
		if !errors.As(err, &e) || e.Status != status || e.Code != code || !strings.Contains(e.Detail, "why") {
			t.Errorf("%s: %v", code, err)
		}
	}
	in.AgentID = "agent-7"
	if _, _, err := w.client(worker1, 0).Register(t.Context(), in); client.Code(err) != wire.CodeInvalidArgument ||
		!strings.Contains(err.Error(), "agent_id") {
		t.Error(err)
	}
}

func TestGrantsAreOpened(t *testing.T) {
	w := newWorld(t, 2)
	seal := func(text, name string) *command.Sealed {
		return &command.Sealed{KeyID: "k", Nonce: []byte(name), Ciphertext: []byte(strings.ToUpper(text))}
	}
	blob := strings.Repeat("b", 64)
	grant := command.Grant{
		AttemptRef: command.AttemptRef{TaskID: 9, Attempt: 1}, ExecutionID: 9, Folder: "F", Project: "P", Package: "p.sh",
		ProjectBlob: blob,
		Parameters: []command.GrantParameter{
			{ObjectType: 20, Name: "Plain", Value: command.Value{Type: "Int32", Text: "5"}},
			{ObjectType: 20, Name: "Set", Sensitive: true,
				Value: command.Value{Type: "String", Sealed: seal("set secret", catalog.SealNameExecutionValue(9, 20, "Set"))}},
			{ObjectType: 30, Name: "Default", Sensitive: true,
				Value: command.Value{Type: "String",
					Sealed: seal("default secret", catalog.SealNameDefault(blob, "p.sh", "Default"))}},
		},
		Options: []command.GrantParameter{{ObjectType: 50, Name: "LOGGING_LEVEL",
			Value: command.Value{Type: "Int32", Text: "1"}}},
		ProjectPassword: seal("pass", catalog.SealNamePassword(blob)), Use32Bit: true, GiveUpAfter: time.Minute,
	}
	broken := grant
	broken.TaskID, broken.ProjectPassword = 10, seal("pass", "another row")
	f := func(_ context.Context, p command.Poll) (command.Answer, error) {
		return command.Answer{Grants: []command.Grant{broken, grant}, Enabled: true,
			Stop: []command.AttemptRef{{TaskID: 1, Attempt: 1}}}, nil
	}
	w.nodes[0].exchange.Store(&f)
	a, _, err := w.client(worker1, 1).Exchange(t.Context(), agent, wire.Exchange{Incarnation: "i", Sequence: 1, Slots: 2})
	if err != nil || len(a.Grants) != 1 || len(a.Stop) != 1 {
		t.Fatalf("%+v %v", a, err)
	}
	g := a.Grants[0]
	if g.TaskID != 9 || g.Parameters[0].Value != "5" || g.Parameters[1].Value != "set secret" ||
		g.Parameters[2].Value != "default secret" ||
		!g.Parameters[2].Sensitive || g.Options[0].Name != "LOGGING_LEVEL" || g.ProjectPassword != "pass" || !g.Use32Bit ||
		g.GiveUpAfterMs != 60_000 {
		t.Fatalf("%#v", g)
	}
}

func TestExchangeInput(t *testing.T) {
	w := newWorld(t, 1)
	c, url := w.as(&worker1), w.nodes[0].srv.URL+"/v1/workers/"
	for _, x := range []struct{ id, body, code, says string }{
		{"nope", `{"instance":"i"}`, wire.CodeInvalidArgument, "path"},
		{agent, ``, wire.CodeInvalidJSON, "empty"},
		{agent, `{"instance":"i","slot":1}`, wire.CodeUnknownField, "slot"},
		{agent, `{}`, wire.CodeInvalidArgument, "instance"},
		{agent, `{"instance":"i","wait_ms":-1}`, wire.CodeInvalidArgument, "wait_ms"},
		{agent, `{"instance":"i","wait_ms":3600000}`, wire.CodeInvalidArgument, "wait_ms"},
		{agent, `{"instance":"i","running":[{"task_id":0,"attempt":1}]}`, wire.CodeInvalidArgument, "running[0]"},
		{agent, `{"instance":"i","ended":[{"task_id":1,"attempt":1,"outcome":"great","exit_code":0}]}`,
			wire.CodeInvalidArgument, "great"},
	} {
		g := do(t, c, "POST", url+x.id+"/exchange", x.body)
		if g.StatusCode != 400 || g.problem.Code != x.code || !strings.Contains(g.problem.Detail, x.says) {
			t.Errorf("%s: %d %s", x.body, g.StatusCode, g.body)
		}
	}
	if g := do(t, c, "POST", url+agent+"/exchange", `{"instance":"`+strings.Repeat("x", workerBody)+`"}`); g.StatusCode !=
		413 {
		t.Error(g.StatusCode)
	}
	for code, status := range map[string]int{"worker_not_registered": 404, "instance_replaced": 409,
		"stale_sequence": 409, "agent_id_taken": 403, "fenced": 409} {
		f := func(context.Context, command.Poll) (command.Answer, error) {
			return command.Answer{}, &command.Rejection{Code: code, Args: []string{"why"}}
		}
		w.nodes[0].exchange.Store(&f)
		if g := do(t, c, "POST", url+agent+"/exchange", `{"instance":"i"}`); g.StatusCode != status ||
			g.problem.Code != code {
			t.Errorf("%s: %d %s", code, g.StatusCode, g.body)
		}
	}
}

func TestMessages(t *testing.T) {
	w := newWorld(t, 2)
	cl := w.client(worker1, 1)
	m := wire.Messages{Incarnation: "i",
		Items: []wire.MessagesItem{{TaskID: 1, Attempt: 1, FirstSeq: 4,
			Messages: []wire.Message{{Time: time.Now(), Type: 70, SourceType: 20, Text: "hello"}}}}}
	if _, err := cl.Messages(t.Context(), agent, m); client.Code(err) != "worker_not_registered" {
		t.Fatal(err)
	}
	if _, _, err := cl.Register(t.Context(), registration()); err != nil {
		t.Fatal(err)
	}
	a, err := cl.Messages(t.Context(), agent, m)
	if err != nil || len(a.Accepted) != 1 || a.Accepted[0].NextSeq != 5 {
		t.Fatal(a, err)
	}
	other := command.Caller{Kind: "worker", Name: "worker-2"}
	if _, err := w.client(other, 0).Messages(t.Context(), agent, m); client.Code(err) != "agent_id_taken" {
		t.Fatal(err)
	}
	f := func(string, []segment.Part) ([]command.Accepted, error) {
		return []command.Accepted{
			{AttemptRef: command.AttemptRef{TaskID: 1, Attempt: 1}, NextSeq: 7},
			{AttemptRef: command.AttemptRef{TaskID: 2, Attempt: 1}, Code: "fenced"},
			{AttemptRef: command.AttemptRef{TaskID: 3, Attempt: 1}, NextSeq: 2, Code: wire.CodeGap},
		}, nil
	}
	w.nodes[0].accept.Store(&f)
	_, err = cl.Messages(t.Context(), agent, m)
	var e *client.Error
	if !errors.As(err, &e) || e.Status != 409 || e.Code != wire.CodeGap || e.Problem.NextSeq == nil ||
		*e.Problem.NextSeq != 2 || len(e.Problem.Accepted) != 3 {
		t.Fatalf("%+v", err)
	}
}

func TestBlobs(t *testing.T) {
	w := newWorld(t, 2)
	user, worker := w.as(&root), w.as(&worker1)
	content := strings.Repeat("blob ", 1000)
	digest, _, _ := new(blobs).Store(t.Context(), strings.NewReader(content), 0)
	url := w.nodes[0].srv.URL + "/v1/blobs/"
	// Through the follower: the body streams through, and the leader keeps it.
	g := do(t, user, "PUT", w.nodes[1].srv.URL+"/v1/blobs/"+digest, content)
	if g.StatusCode != 200 || g.body != fmt.Sprintf(`{"sha256":%q,"size":%d}`+"\n", digest, len(content)) ||
		g.Header.Get(wire.HeaderForwardedBy) == "" {
		t.Fatal(g.StatusCode, g.body)
	}
	if g := do(t, worker, "GET", url+digest, ""); g.StatusCode != 200 || g.body != content ||
		g.ContentLength != int64(len(content)) {
		t.Fatal(g.StatusCode)
	}
	if g := do(t, worker, "GET", url+digest, "", "Range", "bytes=5-8"); g.StatusCode != 206 || g.body != "blob" {
		t.Fatal(g.StatusCode, g.body)
	}
	if g := do(t, worker, "HEAD", url+digest, ""); g.StatusCode != 200 || g.body != "" {
		t.Fatal(g.StatusCode)
	}
	for _, x := range []struct {
		method, name, body, code string
		status                   int
	}{
		{"PUT", strings.Repeat("a", 64), content, "digest_mismatch", 422},
		{"PUT", digest, strings.Repeat("x", 1<<20+1), "project_too_large", 413},
		{"PUT", strings.ToUpper(digest), content, wire.CodeInvalidArgument, 400},
		{"GET", strings.Repeat("a", 64), "", "blob_not_found", 404},
		{"GET", "..%2f..%2fetc%2fpasswd", "", wire.CodeInvalidArgument, 400},
	} {
		if g := do(t, user, x.method, url+x.name, x.body); g.StatusCode != x.status || g.problem.Code != x.code {
			t.Errorf("%s %s: %d %s", x.method, x.name, g.StatusCode, g.body)
		}
	}
	// Without a length the bound still holds.
	req := do(t, user, "PUT", url+digest, strings.Repeat("x", 1<<20+1), "Transfer-Encoding", "chunked")
	if req.StatusCode != 413 {
		t.Error(req.StatusCode)
	}
	var back strings.Builder
	if n, err := w.client(worker1, 0).GetBlob(t.Context(), digest,
		func() (io.Writer, error) { return &back, nil }); err != nil || n != int64(len(content)) || back.String() != content {
		t.Fatal(n, err)
	}
}

// TestSlowUploadWithContinue: signs of life and net/http's own 100 Continue do not get into each other's way.
func TestSlowUploadWithContinue(t *testing.T) {
	w := newWorld(t, 2, func(c *parts) { c.Processing = time.Millisecond })
	content := strings.Repeat("x", 1000)
	digest, _, _ := new(blobs).Store(t.Context(), strings.NewReader(content), 0)
	for _, n := range w.nodes {
		c := w.as(&root)
		c.Transport.(*http.Transport).ExpectContinueTimeout = 10 * time.Second
		in, out := io.Pipe()
		go func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for i := range len(content) / 100 {
				<-tick.C
				io.WriteString(out, content[i*100:(i+1)*100])
			}
			out.Close()
		}()
		req, err := http.NewRequestWithContext(t.Context(), "PUT", n.srv.URL+"/v1/blobs/"+digest, in)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Expect", "100-continue")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
}

// TestLimitsTravelWithARegistration: the state decides by the leader's settings, which the command carries.
func TestLimitsTravelWithARegistration(t *testing.T) {
	limits := procedure.Limits{AgentIDs: 1, NeverEnabled: 5, TaskCount: 10}
	w := newWorld(t, 1, func(c *parts) {
		c.calls.Settings = func() procedure.Config { return procedure.Config{Limits: limits} }
	})
	in := registration()
	in.MaxTaskCount = 5000
	c := w.client(worker1, 0)
	if _, _, err := c.Register(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if row, ok := w.fsm.Reader().Worker(agent); !ok || row.MaxTaskCount != 10 || row.CertName != "worker-1" {
		t.Fatalf("%+v", row)
	}
	in.AgentID = "22222222-2222-4222-8222-222222222222"
	_, _, err := c.Register(t.Context(), in)
	var e *client.Error
	if !errors.As(err, &e) || e.Status != 429 || e.Problem.Limit != "MaxAgentIdsPerCertificate" || e.RetryAfter == 0 {
		t.Fatal(err)
	}
}
