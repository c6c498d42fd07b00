package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/cmd/master"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/store"
	"scaleout/testcluster"
)

// status returns the members by name.
func status(t *testing.T, c *testcluster.Cluster) map[string]wire.Member {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s, err := c.Admin().Cluster(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]wire.Member{}
	for _, m := range s.Members {
		out[m.Name] = m
	}
	return out
}

func voters(members map[string]wire.Member) (n int) {
	for _, m := range members {
		if m.Role == wire.RoleVoter {
			n++
		}
	}
	return n
}

// Four masters start at once and expect three: they form one cluster, and the fourth joins it.
func TestFourBeginAndOneOfThemJoins(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 4, testcluster.Expect(3))
	c.Eventually("four voters", 30*time.Second, func() bool { return voters(status(t, c)) == 4 })
	leaders := map[string]bool{}
	ids := map[string]bool{}
	for i := range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		l, err := c.Client(i).Leader(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		leaders[l.Name] = true
		s, err := c.Client(i).Cluster(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids[s.ClusterID] = true
	}
	if len(leaders) != 1 || len(ids) != 1 {
		t.Errorf("leaders %v, clusters %v; want one of each", leaders, ids)
	}
	joined := 0
	for i := range 4 {
		if c.Logged(i, "a new master joins") {
			joined++
		}
	}
	if joined != 1 {
		t.Errorf("%d masters saw a join; want the leader alone", joined)
	}
}

// Masters that expect different numbers form no cluster. Each logs both numbers.
func TestDifferentExpectationsBeginNothing(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.NoWait(), testcluster.Settings(func(i int, cfg *master.Config) {
		if i == 2 {
			cfg.BootstrapExpect = 5
		}
	}))
	for i := range 3 {
		here, there := 3, 5
		if i == 2 {
			here, there = there, here
		}
		want := fmt.Sprintf("BootstrapExpect is %d here and %d on", here, there)
		c.Eventually(c.Name(i)+" names both", 20*time.Second, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			r, err := c.Client(i).Ready(ctx)
			if err != nil || r.Ready {
				return false
			}
			for _, x := range r.Checks {
				if strings.Contains(x.Detail, want) {
					return true
				}
			}
			return false
		})
	}
	for i := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := c.Client(i).Leader(ctx)
		cancel()
		if err == nil {
			t.Errorf("%s knows a leader", c.Name(i))
		}
	}
}

// A whole cluster moves: every master stops and comes back under another address, with its id and name. The cluster
// elects a leader, keeps its state, and serves workers that knew only the old addresses of the other masters.
func TestAllMastersMove(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	if _, err := c.Admin().Call(t.Context(), "create_folder", map[string]any{"folder_name": "kept"}); err != nil {
		t.Fatal(err)
	}
	before := status(t, c)
	for i := range 3 {
		c.Stop(i)
	}
	for i := range 3 {
		c.Move(i)
	}
	for i := range 3 {
		c.Restart(i)
	}
	c.Leader()
	c.Eventually("the members' new addresses are written down", 30*time.Second, func() bool {
		after := status(t, c)
		for i := range 3 {
			m := after[c.Name(i)]
			if m.ID != before[c.Name(i)].ID || m.Role != wire.RoleVoter || m.Address != "https://"+c.Address(i) {
				return false
			}
		}
		return len(after) == 3
	})
	page, err := c.Admin().View(t.Context(), "folders", client.Query{Equal: map[string]any{"name": "kept"}})
	if err != nil || len(page.Rows) != 1 {
		t.Errorf("folders %v, %v", page.Rows, err)
	}
	// An election also works with the new addresses.
	c.Kill(c.Leader())
	c.Leader()
}

// A member that lost its log and not its identity does not start again, since it could vote twice. With an empty data
// directory it is a new master with a new id, and replaces the lost one at the same address.
func TestALostLogIsRefusedAndReplaced(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	if _, err := c.Admin().Call(t.Context(), "create_folder", map[string]any{"folder_name": "kept"}); err != nil {
		t.Fatal(err)
	}
	c.Eventually("three voters", 20*time.Second, func() bool { return voters(status(t, c)) == 3 })
	i := c.Others(c.Leader())[0]
	old := status(t, c)[c.Name(i)]
	c.Stop(i)
	must(t, os.Remove(filepath.Join(c.Data(i), "raft.db")))
	must(t, os.RemoveAll(filepath.Join(c.Data(i), "snapshots")))
	refused := func(what string) {
		t.Helper()
		cfg := c.Config(i)
		cfg.Port = c.FreePort()
		_, err := master.New(cfg)
		if err == nil {
			t.Fatalf("%s: the master starts", what)
		}
		for _, word := range []string{"raft.db", "empty"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error gives no advice (%q): %v", what, word, err)
			}
		}
	}
	refused("log lost")
	c.Wipe(i)
	c.Restart(i)
	c.Eventually("the new master has the old one's place", 40*time.Second, func() bool {
		members := status(t, c)
		m := members[c.Name(i)]
		return len(members) == 3 && m.Role == wire.RoleVoter && m.ID != old.ID && m.Address == old.Address
	})
	// The new master is a voter: with another master dead it is part of the majority.
	c.Leader()
	for _, j := range c.Others(i) {
		c.Kill(j)
		break
	}
	c.Leader()
	if _, err := c.Client(i).Call(t.Context(), "create_folder", map[string]any{"folder_name": "after"}); err != nil {
		t.Error(err)
	}
}

// A lost master comes back under its name, empty and on another machine. It joins in addition to the dead member, which
// an operator then removes by its id. The cluster works all the time.
func TestALostMasterComesBackElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Deploy("F", "P", map[string]string{"a.sh": "exit 0\n"})
	c.Eventually("three voters", 20*time.Second, func() bool { return voters(status(t, c)) == 3 })
	i := c.Leader()
	old := status(t, c)[c.Name(i)].ID
	c.Kill(i)
	c.Wipe(i)
	c.Move(i)
	c.Restart(i)
	members := func() (list []wire.Member, dead, alive int) {
		s, err := c.Admin().Cluster(t.Context())
		if err != nil {
			return nil, 0, 0
		}
		for _, m := range s.Members {
			switch {
			case m.Role != wire.RoleVoter:
			case m.ID == old && m.Health != "healthy":
				dead++
			case m.Health == "healthy":
				alive++
			}
		}
		return s.Members, dead, alive
	}
	c.Eventually("the new one votes beside the dead one", 40*time.Second,
		func() bool { _, dead, alive := members(); return dead == 1 && alive == 3 })
	if _, err := c.Admin().Call(t.Context(), "create_folder", map[string]any{"folder_name": "meanwhile"}); err != nil {
		t.Error(err)
	}
	must(t, c.Admin().RemoveMember(t.Context(), old, false))
	list, dead, alive := members()
	if dead != 0 || alive != 3 {
		t.Errorf("members %+v", list)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A master with a wrong configuration refuses to start at once. Its error names the file or folder and the remedy, and
// no other master is affected.
func TestMastersThatDoNotStart(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1)
	other, err := pki.Init(filepath.Join(t.TempDir(), "ca"), time.Now())
	must(t, err)
	folder := func(a *pki.Authority, req pki.Request, at time.Time) pki.Files {
		t.Helper()
		issued, err := a.Issue(req, at)
		must(t, err)
		dir := filepath.Join(t.TempDir(), "certs")
		must(t, issued.WriteFiles(dir))
		return pki.Files{CA: filepath.Join(dir, pki.FileCA), Cert: filepath.Join(dir, pki.FileCert),
			Key: filepath.Join(dir, pki.FileKey)}
	}
	request := pki.Request{Role: pki.RoleMaster, Name: "master-9", Hosts: []string{"127.0.0.1"}}
	own := c.Config(0).Files
	foreign := folder(other, request, time.Now())
	short := request
	short.Lifetime = time.Hour
	expired := folder(c.Authority(), short, time.Now().Add(-2*time.Hour))
	worker := folder(c.Authority(), pki.Request{Role: pki.RoleWorker, Name: "worker-9"}, time.Now())
	second := folder(c.Authority(), request, time.Now())
	broken := filepath.Join(t.TempDir(), "broken.pem")
	must(t, os.WriteFile(broken, []byte("-----BEGIN CERTIFICATE-----\nxx\n"), 0o600))
	for _, x := range []struct {
		name  string
		set   func(*master.Config)
		words []string
		is    error
	}{
		{"the same directory", func(cfg *master.Config) { cfg.DataDirectory = c.Data(0) }, []string{c.Data(0)},
			store.ErrLocked},
		{"no certificate", func(cfg *master.Config) { cfg.Files.Cert = "/nowhere/cert.pem" }, []string{"/nowhere/cert.pem"},
			os.ErrNotExist},
		{"not a certificate", func(cfg *master.Config) { cfg.Files.Cert = broken }, []string{broken}, nil},
		{"another one's key", func(cfg *master.Config) { cfg.Files.Key = second.Key }, []string{second.Key}, nil},
		{"expired", func(cfg *master.Config) { cfg.Files = expired }, []string{expired.Cert, "expired"}, nil},
		{"a worker's", func(cfg *master.Config) { cfg.Files = worker }, []string{worker.Cert, "worker-9", "master"}, nil},
		{"signed by another CA", func(cfg *master.Config) { cfg.Files.Cert, cfg.Files.Key = foreign.Cert, foreign.Key },
			[]string{foreign.Cert}, nil},
		{"another thumbprint", func(cfg *master.Config) { cfg.Thumbprint = strings.Repeat("ab", 20) },
			[]string{strings.Repeat("ab", 20)}, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			cfg := c.Config(0)
			cfg.DataDirectory = filepath.Join(t.TempDir(), "data")
			cfg.Files, cfg.Port, cfg.GossipPort = own, c.FreePort(), c.FreePort()
			x.set(&cfg)
			if _, err = master.New(cfg); err == nil {
				t.Fatal("the master starts")
			}
			if x.is != nil && !errors.Is(err, x.is) {
				t.Errorf("%v is not %v", err, x.is)
			}
			for _, word := range x.words {
				if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(word)) {
					t.Errorf("the error does not say %q: %v", word, err)
				}
			}
		})
	}
	if _, err := c.Admin().Call(t.Context(), "create_folder", map[string]any{"folder_name": "unharmed"}); err != nil {
		t.Error(err)
	}
}

// A master of another cluster that is configured to join this one neither joins nor does harm, and this cluster logs
// its address.
func TestAMasterOfAnotherClusterStaysOut(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1)
	d := testcluster.Start(t, 1, testcluster.Settings(func(_ int, cfg *master.Config) {
		cfg.RetryJoin = append(cfg.RetryJoin, fmt.Sprintf("127.0.0.1:%d", c.Config(0).GossipPort))
	}))
	if len(status(t, c)) != 1 || len(status(t, d)) != 1 {
		t.Error("the clusters have met")
	}
	// This cluster does not accept its certificate either.
	theirs, err := d.Admin().At("https://" + d.Address(0))
	must(t, err)
	must(t, theirs.SetMasters([]string{"https://" + c.Address(0)}))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// The error comes at once: waiting does not make a certificate valid.
	if _, err := theirs.Views(ctx); !errors.Is(err, client.ErrUnreachable) ||
		!strings.Contains(err.Error(), "not of this cluster") {
		t.Errorf("a certificate of another cluster: %v", err)
	}
}
