package main

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
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cluster/pki"
	"scaleout/cmd/scaleout/settings"
)

func TestLayoutOfPortsAndNames(t *testing.T) {
	l := layout{dir: "d", Masters: 3, Workers: 2, Port: 8391}
	if got := l.names(); !slices.Equal(got, []string{"master-1", "master-2", "master-3", "worker-1", "worker-2"}) {
		t.Error(got)
	}
	if got := l.addresses(); !slices.Equal(got, []string{"https://127.0.0.1:8391", "https://127.0.0.1:8393", "https://127.0.0.1:8395"}) {
		t.Error(got)
	}
	if l.gossipPort(0) != 8392 || l.gossipPort(2) != 8396 {
		t.Error(l.gossipPort(0), l.gossipPort(2))
	}
	for _, bad := range []layout{
		{Masters: 0, Port: 1}, {Masters: 2, Port: 1}, {Masters: 11, Port: 1}, {Masters: 1, Workers: -1, Port: 1}, {Masters: 1, Workers: 101, Port: 1},
		{Masters: 1, Port: 0}, {Masters: 3, Port: 65531},
	} {
		var usage *usageError
		if err := bad.check(); !errors.As(err, &usage) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := (layout{Masters: 3, Port: 65530}).check(); err != nil {
		t.Error(err)
	}
}

// layoutOf is what a command line leads to.
func layoutOf(t *testing.T, args ...string) (layout, error) {
	t.Helper()
	var f devFlags
	var l layout
	var err error
	cmd := &cobra.Command{Run: func(cmd *cobra.Command, _ []string) { l, err = f.layout(cmd) }}
	f.add(cmd, "")
	cmd.SetArgs(args)
	if e := cmd.Execute(); e != nil {
		t.Fatal(e)
	}
	return l, err
}

func TestAnExistingDirectoryIsResumed(t *testing.T) {
	dir := t.TempDir()
	first, err := layoutOf(t, "--data", dir, "--masters", "3", "--workers", "1", "--port", "9000")
	if err != nil {
		t.Fatal(err)
	}
	first.Bootstrap = 3
	if err := first.save(); err != nil {
		t.Fatal(err)
	}
	if again, err := layoutOf(t, "--data", dir); err != nil || again != first {
		t.Fatalf("%+v, want %+v (%v)", again, first, err)
	}
	grown, err := layoutOf(t, "--data", dir, "--masters", "5", "--workers", "0")
	if err != nil || grown.Masters != 5 || grown.Workers != 0 || grown.Bootstrap != 3 || grown.Port != 9000 {
		t.Fatalf("%+v %v", grown, err)
	}
	if _, err := layoutOf(t, "--data", dir, "--masters", "1"); err == nil || !strings.Contains(err.Error(), "cluster of 3") {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, layoutFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := layoutOf(t, "--data", dir); err == nil || !strings.Contains(err.Error(), layoutFile) {
		t.Fatal(err)
	}
}

func TestPreparedFilesAreGoodSettings(t *testing.T) {
	s := &stage{layout: layout{dir: t.TempDir(), Masters: 3, Workers: 1, Port: 9000}}
	if err := s.prepare(time.Now(), map[string]any{"MaxTaskCount": 4}); err != nil {
		t.Fatal(err)
	}
	none := func(string) (string, bool) { return "", false }
	ports := map[int]bool{}
	for i := range s.Masters {
		var m settings.Master
		set := settings.NewMaster(&m)
		if err := set.Load(s.settings(s.masterName(i)), none); err != nil {
			t.Fatal(err)
		}
		ports[m.PortNumber], ports[m.GossipPort] = true, true
		if m.BootstrapExpect != 3 || len(m.RetryJoin) != 2 || m.NodeName != s.masterName(i) {
			t.Errorf("%+v", m)
		}
		if problems := masterFiles(set, m); len(problems) > 0 {
			t.Error(problems)
		}
	}
	if len(ports) != 6 {
		t.Error(ports)
	}
	var w settings.Worker
	set := settings.NewWorker(&w)
	if err := set.Load(s.settings("worker-1"), none); err != nil {
		t.Fatal(err)
	}
	if problems := workerFiles(set, w); len(problems) > 0 {
		t.Error(problems)
	}
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

	id, err := s.agentID("worker-1")
	if err != nil || !strings.EqualFold(id, w.AgentId) {
		t.Fatal(id, err)
	}
	// A second start keeps identities, certificates and what a person has set, and joins more masters.
	cert, err := os.ReadFile(filepath.Join(s.home("worker-1"), pki.FileCert))
	if err != nil {
		t.Fatal(err)
	}
	w.MaxTaskCount = 0
	if err := mergeSettings(s.settings("worker-1"), map[string]any{"MaxTaskCount": 7}, nil); err != nil {
		t.Fatal(err)
	}
	s.Masters, s.Port = 5, 9100
	if err := s.prepare(time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	if err := settings.NewWorker(&w).Load(s.settings("worker-1"), none); err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(filepath.Join(s.home("worker-1"), pki.FileCert))
	if err != nil || !bytes.Equal(cert, again) {
		t.Error("the certificate was issued again", err)
	}
	if w.MaxTaskCount != 7 || w.AgentId != id || len(w.MasterEndpoint) != 5 || !strings.HasSuffix(w.MasterEndpoint[4], ":9108") {
		t.Errorf("%+v", w)
	}
	var m settings.Master
	if err := settings.NewMaster(&m).Load(s.settings("master-5"), none); err != nil || m.BootstrapExpect != 0 || len(m.RetryJoin) != 4 {
		t.Fatalf("%+v %v", m, err)
	}
}

func TestPublishedFiles(t *testing.T) {
	s := &stage{layout: layout{dir: filepath.Join(t.TempDir(), "it's"), Masters: 1, Workers: 1, Port: 9000}}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.prepare(time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.publish(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(s.json())
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
	env, err := os.ReadFile(s.env())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"export SCALEOUT_ADDR='https://127.0.0.1:9000'\n", "export SCALEOUT_CACERT=", "export SCALEOUT_CERT=", "export SCALEOUT_KEY=", `it'\''s`} {
		if !strings.Contains(string(env), want) {
			t.Errorf("%q is missing in\n%s", want, env)
		}
	}
}

func TestControlAnswersWhoHasTheToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "control.json")
	if _, err := askControl(t.Context(), file, controlRequest{}); err == nil || !strings.Contains(err.Error(), "no dev runs") {
		t.Fatal(err)
	}
	c, err := openControl(file, map[string]devVerb{"restart": func(_ context.Context, name string) (string, error) {
		if name != "master-1" {
			return "", errors.New("unknown " + name)
		}
		return "done", nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(c.serve)
	if text, err := askControl(t.Context(), file, controlRequest{Verb: "restart", Name: "master-1"}); text != "done" || err != nil {
		t.Error(text, err)
	}
	if _, err := askControl(t.Context(), file, controlRequest{Verb: "restart", Name: "x"}); err == nil || err.Error() != "unknown x" {
		t.Error(err)
	}
	if _, err := askControl(t.Context(), file, controlRequest{Verb: "format"}); err == nil {
		t.Error("an unknown verb was taken")
	}
	forged, err := json.Marshal(controlFile{c.ln.Addr().String(), "guess"})
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "forged.json")
	if err := os.WriteFile(other, forged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := askControl(t.Context(), other, controlRequest{Verb: "restart", Name: "master-1"}); err == nil || err.Error() != "wrong token" {
		t.Error(err)
	}
	c.close()
	wg.Wait()
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the file stayed", err)
	}
}

func TestDemoCountsWhatRan(t *testing.T) {
	r := &demoResult{started: 3, succeeded: 3, masters: 3, killed: killed{name: "master-1"}}
	r.count([]int64{1, 2, 3}, "1\n3\n2\n")
	if !r.good() {
		t.Errorf("%+v", r)
	}
	for _, ran := range []string{"1\n2\n", "1\n2\n3\n3\n", "1\n2\n3\n4\n", "", "1\n23\n"} {
		bad := &demoResult{started: 3, succeeded: 3, masters: 3, killed: killed{name: "master-1"}}
		bad.count([]int64{1, 2, 3}, ran)
		if bad.good() || bad.verdict() == nil {
			t.Errorf("%q is taken as good", ran)
		}
	}
	if r.killed.name = ""; r.good() {
		t.Error("nobody was killed, and it is taken as good")
	}
}

func TestGaps(t *testing.T) {
	var g gaps
	begin := time.Now()
	for _, ms := range []int{0, 50, 1250, 1300} {
		g.took(begin.Add(time.Duration(ms) * time.Millisecond))
	}
	if gap, n := g.gap(); gap != 1200*time.Millisecond || n != 4 {
		t.Error(gap, n)
	}
}
