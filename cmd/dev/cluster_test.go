package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"scaleout/cluster/pki"
	"scaleout/cmd/dev/process"
	"scaleout/cmd/scaleout/settings"
)

// TestMain is also a child that ends when it is told to.
func TestMain(m *testing.M) {
	if process.IsChild() {
		<-process.Obey(context.Background(), os.Stdin, func() {}).Done()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestLayoutOfPortsAndNames(t *testing.T) {
	l := Layout{Dir: "d", Masters: 3, Workers: 2, Port: 8391}
	if got := l.Names(); !slices.Equal(got, []string{"master-1", "master-2", "master-3", "worker-1", "worker-2"}) {
		t.Error(got)
	}
	want := []string{"https://127.0.0.1:8391", "https://127.0.0.1:8393", "https://127.0.0.1:8395"}
	if got := l.addresses(); !slices.Equal(got, want) {
		t.Error(got)
	}
	if l.gossipPort(0) != 8392 || l.gossipPort(2) != 8396 {
		t.Error(l.gossipPort(0), l.gossipPort(2))
	}
}

func TestCheckOfALayout(t *testing.T) {
	for _, test := range []struct {
		name   string
		layout Layout
		want   string // "": it is good
	}{
		{"the highest port", Layout{Masters: 3, Port: 65530}, ""},
		{"no master", Layout{Masters: 0, Port: 1}, "masters 0"},
		{"an even number of masters", Layout{Masters: 2, Port: 1}, "masters 2"},
		{"too many masters", Layout{Masters: 11, Port: 1}, "masters 11"},
		{"a negative number of workers", Layout{Masters: 1, Workers: -1, Port: 1}, "workers -1"},
		{"too many workers", Layout{Masters: 1, Workers: 101, Port: 1}, "workers 101"},
		{"no port", Layout{Masters: 1, Port: 0}, "port 0"},
		{"a gossip port beyond the last one", Layout{Masters: 3, Port: 65531}, "port 65531"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.layout.Check()
			if test.want == "" && err != nil ||
				test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want+":")) {
				t.Error(err)
			}
		})
	}
}

func TestSavedLayout(t *testing.T) {
	l := Layout{Dir: t.TempDir(), Masters: 3, Workers: 1, Port: 9000, Bootstrap: 3}
	if saved, err := Saved(l.Dir); saved != nil || err != nil {
		t.Fatal(saved, err)
	}
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	if saved, err := Saved(l.Dir); err != nil || *saved != l {
		t.Fatalf("%+v, want %+v (%v)", saved, l, err)
	}
	if err := os.WriteFile(filepath.Join(l.Dir, layoutFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Saved(l.Dir); err == nil || !strings.Contains(err.Error(), layoutFile) {
		t.Fatal(err)
	}
}

func TestPreparedFilesAreGoodSettings(t *testing.T) {
	c := &Cluster{Config: Config{
		Layout:         Layout{Dir: t.TempDir(), Masters: 3, Workers: 1, Port: 9000},
		WorkerSettings: map[string]any{"MaxTaskCount": 4},
	}}
	if err := c.prepare(time.Now()); err != nil {
		t.Fatal(err)
	}
	none := func(string) (string, bool) { return "", false }
	opens := func(ca, cert, key string) {
		t.Helper()
		if _, err := pki.OpenCredentials(pki.CredentialsConfig{Files: pki.Files{CA: ca, Cert: cert, Key: key}}); err != nil {
			t.Error(err)
		}
	}
	ports := map[int]bool{}
	for i := range c.Masters {
		var m settings.Master
		if err := settings.NewMaster(&m).Load(c.settings(c.masterName(i)), none); err != nil {
			t.Fatal(err)
		}
		ports[m.PortNumber], ports[m.GossipPort] = true, true
		if m.BootstrapExpect != 3 || len(m.RetryJoin) != 2 || m.NodeName != c.masterName(i) {
			t.Errorf("%+v", m)
		}
		opens(m.CACertFile, m.CertFile, m.KeyFile)
		if _, err := pki.LoadGossipKey(m.GossipKeyFile); err != nil {
			t.Error(err)
		}
		if _, err := pki.LoadKeyRing(m.KeyRingFile); err != nil {
			t.Error(err)
		}
	}
	if len(ports) != 6 {
		t.Error(ports)
	}
	var w settings.Worker
	if err := settings.NewWorker(&w).Load(c.settings("worker-1"), none); err != nil {
		t.Fatal(err)
	}
	opens(w.CACertFile, w.CertFile, w.KeyFile)
	if w.MaxTaskCount != 4 || len(w.MasterEndpoint) != 3 {
		t.Errorf("%+v", w)
	}
	// What masters with the timings of a LAN ask of a lease: 2 heartbeats + 2 s + 2 elections of 500 ms + 5 s.
	lease := time.Duration(w.LeaseInterval)
	h := min(time.Duration(w.TaskHeartbeatInterval), lease/6)
	if least := 2*h + 8*time.Second; lease <= least || w.LeaseInterval > w.HeartbeatErrorTolerance {
		t.Errorf("lease %v, at least %v is asked for", lease, least)
	}
	if hold := min(30*time.Second, lease/3); hold > 2*time.Duration(w.AgentHeartbeatInterval) {
		t.Errorf("a worker that waits %v in a poll would be taken for offline", hold)
	}

	id, err := c.agentID("worker-1")
	if err != nil || !strings.EqualFold(id, w.AgentId) {
		t.Fatal(id, err)
	}
	// A second start keeps identities, certificates and what a person has set, and joins more masters.
	cert, err := os.ReadFile(filepath.Join(c.home("worker-1"), pki.FileCert))
	if err != nil {
		t.Fatal(err)
	}
	w.MaxTaskCount = 0
	if err := mergeSettings(c.settings("worker-1"), map[string]any{"MaxTaskCount": 7}, nil); err != nil {
		t.Fatal(err)
	}
	c.Masters, c.Port = 5, 9100
	if err := c.prepare(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := settings.NewWorker(&w).Load(c.settings("worker-1"), none); err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(filepath.Join(c.home("worker-1"), pki.FileCert))
	if err != nil || !bytes.Equal(cert, again) {
		t.Error("the certificate was issued again", err)
	}
	if w.MaxTaskCount != 7 || w.AgentId != id || len(w.MasterEndpoint) != 5 ||
		!strings.HasSuffix(w.MasterEndpoint[4], ":9108") {
		t.Errorf("%+v", w)
	}
	var m settings.Master
	err = settings.NewMaster(&m).Load(c.settings("master-5"), none)
	if err != nil || m.BootstrapExpect != 0 || len(m.RetryJoin) != 4 {
		t.Fatalf("%+v %v", m, err)
	}
}

func TestPublishedFiles(t *testing.T) {
	c := &Cluster{Config: Config{Layout: Layout{Dir: filepath.Join(t.TempDir(), "it's"), Masters: 1, Workers: 1,
		Port: 9000}}}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.prepare(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := c.publish(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(c.listFile())
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string][]map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if m := doc["masters"][0]; m["name"] != "master-1" || m["address"] != "https://127.0.0.1:9000" || m["pid"] == nil {
		t.Error(m)
	}
	if w := doc["workers"][0]; w["name"] != "worker-1" || w["id"] == "" || w["pid"] == nil {
		t.Error(w)
	}
	env, err := os.ReadFile(c.Env())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"export SCALEOUT_ADDR='https://127.0.0.1:9000'\n", "export SCALEOUT_CACERT=", "export SCALEOUT_CERT=",
		"export SCALEOUT_KEY=", `it'\''s`,
	} {
		if !strings.Contains(string(env), want) {
			t.Errorf("%q is missing in\n%s", want, env)
		}
	}
}

// running is a cluster whose children are this test's program. It is ready, and reachable by other processes.
func running(t *testing.T) (c *Cluster, said chan string) {
	t.Helper()
	said = make(chan string, 100)
	c = &Cluster{
		Config: Config{
			Layout: Layout{Dir: t.TempDir(), Masters: 1, Workers: 1, Port: 9000}, Say: func(text string) { said <- text },
		},
		executable: os.Args[0], children: map[string]*child{}, ready: true,
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.lock = flock.New(filepath.Join(c.Dir, "lock"))
	if err := os.Mkdir(c.Logs(), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Names() {
		if err := os.Mkdir(c.home(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := c.start(name); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	c.control, err = openControl(c.ctx, c.controlFile(), map[string]verb{verbRestart: c.restart, verbStatus: c.status})
	if err != nil {
		t.Fatal(err)
	}
	return c, said
}

func TestStatusOfARunningCluster(t *testing.T) {
	c, said := running(t)
	if !c.Kill("worker-1") || c.Kill("nobody") {
		t.Error("Kill")
	}
	if !c.child("worker-1").process.EndsWithin(time.Minute) {
		t.Fatal("a killed child runs on")
	}
	list, err := Status(t.Context(), c.Dir)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	m := list[0]
	if m.Name != "master-1" || m.PID != c.pid("master-1") || m.State != StateRunning ||
		m.Address != "https://127.0.0.1:9000" {
		t.Errorf("%+v", m)
	}
	if w := list[1]; w.Name != "worker-1" || w.State != StateEnded || w.Address != "" ||
		!strings.HasSuffix(w.Log, "worker-1.log") {
		t.Errorf("%+v", w)
	}
	if _, err := Restart(t.Context(), c.Dir, "mastr-1"); err == nil ||
		!strings.Contains(err.Error(), "did you mean master-1?") {
		t.Error(err)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if !c.child("master-1").process.Ended() {
		t.Error("a child outlives Stop")
	}
	select {
	case text := <-said:
		t.Errorf("an end that was asked for is told of: %s", text)
	default:
	}
	if _, err := Status(t.Context(), c.Dir); err == nil || !strings.Contains(err.Error(), "no dev runs") {
		t.Error(err)
	}
}

func TestAnEndThatNobodyAskedForIsToldOf(t *testing.T) {
	c, said := running(t)
	ch := c.child("master-1")
	ch.process.Kill()
	var text string
	select {
	case text = <-said:
	case <-time.After(time.Minute):
		t.Fatal("nothing is said")
	}
	if !strings.Contains(text, "master-1 (pid ") ||
		!strings.Contains(text, "scaleout dev restart master-1 --data "+c.Dir) {
		t.Errorf("%q", text)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

func TestControlAnswersWhoHasTheToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "control.json")
	if _, err := ask(t.Context(), file, controlRequest{}); err == nil || !strings.Contains(err.Error(), "no dev runs") {
		t.Fatal(err)
	}
	c, err := openControl(t.Context(), file,
		map[string]verb{"restart": func(_ context.Context, name string) (string, error) {
			if name != "master-1" {
				return "", errors.New("unknown " + name)
			}
			return "done", nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := ask(t.Context(), file, controlRequest{Verb: "restart", Name: "master-1"}); text != "done" ||
		err != nil {
		t.Error(text, err)
	}
	if _, err := ask(t.Context(), file, controlRequest{Verb: "restart", Name: "x"}); err == nil ||
		err.Error() != "unknown x" {
		t.Error(err)
	}
	if _, err := ask(t.Context(), file, controlRequest{Verb: "format"}); err == nil {
		t.Error("an unknown verb was taken")
	}
	forged, err := json.Marshal(controlFile{c.listener.Addr().String(), "guess"})
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "forged.json")
	if err := os.WriteFile(other, forged, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ask(t.Context(), other, controlRequest{Verb: "restart", Name: "master-1"})
	if err == nil || err.Error() != "wrong token" {
		t.Error(err)
	}
	c.close()
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the file stayed", err)
	}
}
