package testcluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/pki"
	"scaleout/cmd/master"
	"scaleout/httpapi/client"
)

// Option changes how a cluster is started.
type Option func(*Cluster)

// Processes starts the masters as child processes.
func Processes() Option { return func(c *Cluster) { c.processes = true } }

// Expect sets BootstrapExpect; default: the number of masters.
func Expect(n int) Option { return func(c *Cluster) { c.expect = n } }

// Profile sets the TimingProfile; default "lan", as in a real master. "fast" leaders do not keep their place on a busy
// machine.
func Profile(name string) Option { return func(c *Cluster) { c.profile = name } }

// Settings changes the settings of each master before it starts.
func Settings(f func(i int, cfg *master.Config)) Option {
	return func(c *Cluster) { c.settings = append(c.settings, f) }
}

// NoWait makes Start return before there is a leader.
func NoWait() Option { return func(c *Cluster) { c.noWait = true } }

// Cluster is a cluster of masters and workers.
type Cluster struct {
	tb        testing.TB
	dir       string
	authority *pki.Authority
	net       *network
	processes bool
	expect    int
	profile   string
	noWait    bool
	settings  []func(int, *master.Config)
	mounts    []func(*node) // make the data directory of a master that needs more than a folder
	log       *slog.Logger
	logFile   *os.File

	supervisors sync.WaitGroup
	slowDisk    time.Duration
	ending      atomic.Bool

	mu      sync.Mutex
	nodes   []*node
	workers []*Worker
	closers []func()
	users   map[string]*client.Client // by name and masters: connections are kept
}

// Start starts n masters, whose indices count from 0, and waits for a leader. The cluster ends with the test.
func Start(tb testing.TB, n int, opts ...Option) *Cluster {
	tb.Helper()
	leaks.begin()
	c := &Cluster{tb: tb, expect: n, profile: "lan", net: newNetwork(), users: map[string]*client.Client{}}
	for _, o := range opts {
		o(c)
	}
	tb.Cleanup(func() { leaks.end(tb) })
	// tb.TempDir would be too long: a guard's socket needs a short path.
	dir, err := os.MkdirTemp("", "sc")
	c.must(err)
	c.dir = dir
	c.logFile, err = os.Create(filepath.Join(dir, "test.log"))
	c.must(err)
	c.log = slog.New(slog.NewTextHandler(c.logFile, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.authority, err = pki.Init(filepath.Join(dir, "ca"), time.Now())
	c.must(err)
	tb.Cleanup(c.finish)
	for range n {
		c.add()
	}
	for i := range c.nodes {
		c.must(c.nodes[i].start())
	}
	if !c.noWait {
		c.Leader()
	}
	return c
}

func (c *Cluster) must(err error) {
	c.tb.Helper()
	if err != nil {
		c.tb.Fatal(err)
	}
}

// add makes the folder, the certificate and the ports of one more master.
func (c *Cluster) add() *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := len(c.nodes)
	name := fmt.Sprintf("master-%d", i+1)
	nd := &node{c: c, i: i, name: name, gossip: freePort(c.tb), certs: c.issue(pki.RoleMaster, name)}
	nd.data = filepath.Join(c.dir, name)
	nd.address = fmt.Sprintf("127.0.0.1:%d", freePort(c.tb))
	for _, f := range c.mounts {
		f(nd)
	}
	c.nodes = append(c.nodes, nd)
	c.net.place(nd.address, i)
	return nd
}

// Add starts one more master, which joins the cluster, and returns its index.
func (c *Cluster) Add() int {
	c.tb.Helper()
	nd := c.add()
	c.must(nd.start())
	return nd.i
}

// issue issues a certificate and returns its folder.
func (c *Cluster) issue(role pki.Role, name string, roles ...string) string {
	req := pki.Request{Role: role, Name: name, Roles: roles}
	if role == pki.RoleMaster {
		req.Hosts = []string{"127.0.0.1", "localhost"}
	}
	issued, err := c.authority.Issue(req, time.Now())
	c.must(err)
	folder := filepath.Join(c.dir, "certs", name)
	c.must(issued.WriteFiles(folder))
	return folder
}

// files returns the paths in a certificate folder.
func files(folder string) pki.Files {
	return pki.Files{
		CA: filepath.Join(folder, pki.FileCA), Cert: filepath.Join(folder, pki.FileCert),
		Key: filepath.Join(folder, pki.FileKey),
	}
}

// Config returns the settings with which a master is started. A test that starts a master itself must set the port.
func (c *Cluster) Config(i int) master.Config { return c.config(c.node(i)) }

// Authority returns the authority that issues the cluster's certificates.
func (c *Cluster) Authority() *pki.Authority { return c.authority }

// Dir returns the folder of all files of the cluster, which is removed after the test.
func (c *Cluster) Dir() string { return c.dir }

// Name returns a master's name.
func (c *Cluster) Name(i int) string { return c.node(i).name }

// config returns a master's settings.
func (c *Cluster) config(nd *node) master.Config {
	var join []string
	c.mu.Lock()
	for _, other := range c.nodes {
		if other != nd {
			join = append(join, fmt.Sprintf("127.0.0.1:%d", other.gossip))
		}
	}
	c.mu.Unlock()
	cfg := master.Config{
		Name: nd.name, DataDirectory: nd.data, BindAddress: "127.0.0.1", GossipPort: nd.gossip, AdvertiseAddress: "127.0.0.1",
		RetryJoin: join, BootstrapExpect: c.expect, Files: files(nd.certs),
		GossipKeyFile: filepath.Join(nd.certs, "gossip.key"), KeyRingFile: filepath.Join(nd.certs, "keyring.json"),
		Timing: c.profile, Heartbeat: time.Second, Expiry: time.Second, Cleanup: time.Hour,
		RetryDelay: 100 * time.Millisecond, Version: "test", Logger: c.log.With("n", nd.i),
	}
	for _, f := range c.settings {
		f(nd.i, &cfg)
	}
	return cfg
}

// Timing returns the masters' timing.
func (c *Cluster) Timing() cluster.Timing {
	t, err := cluster.TimingProfile(c.profile)
	c.must(err)
	return t
}

// Masters returns the addresses of all masters.
func (c *Cluster) Masters() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, nd := range c.nodes {
		out = append(out, "https://"+nd.address)
	}
	return out
}

// Client returns an administrator's client of one master alone.
func (c *Cluster) Client(i int) *client.Client {
	c.tb.Helper()
	cl, err := c.Admin().At("https://" + c.node(i).address)
	c.must(err)
	return cl
}

// Admin returns an administrator's client of all masters.
func (c *Cluster) Admin() *client.Client {
	c.tb.Helper()
	return c.User("admin", "ssis_admin")
}

// User returns a client of all masters with a user's certificate.
func (c *Cluster) User(name string, roles ...string) *client.Client {
	c.tb.Helper()
	key := name + " " + strings.Join(c.Masters(), " ")
	c.mu.Lock()
	cl := c.users[key]
	c.mu.Unlock()
	if cl == nil {
		cl = c.Tapped(nil, name, roles...)
		c.mu.Lock()
		c.users[key] = cl
		c.mu.Unlock()
	}
	return cl
}

// Dial opens a connection to a master.
type Dial = func(ctx context.Context, network, addr string) (net.Conn, error)

// Tapped returns a user's client whose connections come from dial.
func (c *Cluster) Tapped(dial Dial, name string, roles ...string) *client.Client {
	c.tb.Helper()
	folder := filepath.Join(c.dir, "certs", name)
	if _, err := os.Stat(folder); err != nil {
		c.issue(pki.RoleUser, name, roles...)
	}
	cl, _ := c.connect(folder, dial)
	return cl
}

// connect returns a client with the certificate of a folder.
func (c *Cluster) connect(folder string, dial Dial) (*client.Client, *pki.Credentials) {
	c.tb.Helper()
	creds, err := pki.OpenCredentials(pki.CredentialsConfig{Files: files(folder), Logger: c.log})
	c.must(err)
	transport := client.NewRenewing(creds.Changed, func() *http.Transport {
		t := client.NewTransport(creds.ClientTLS("http/1.1"))
		t.DialTLSContext = creds.DialTLS(dial, "http/1.1")
		return t
	})
	cl, err := client.New(client.Config{Masters: c.Masters(), HTTPClient: httpClient(transport), Logger: c.log})
	c.must(err)
	c.mu.Lock()
	end := watch(creds)
	c.closers = append(c.closers, func() { end(); cl.Close(); transport.CloseIdleConnections() })
	c.mu.Unlock()
	return cl, creds
}

func (c *Cluster) node(i int) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i]
}

func (c *Cluster) all() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*node(nil), c.nodes...)
}

// finish heals all faults, compares the states of all masters and stops everything.
func (c *Cluster) finish() {
	c.tb.Helper()
	c.mu.Lock()
	workers := append([]*Worker(nil), c.workers...)
	c.mu.Unlock()
	for _, w := range workers {
		w.end()
	}
	c.Heal()
	if !c.tb.Failed() && !c.tb.Skipped() && !c.noWait {
		for _, nd := range c.all() {
			if !nd.running() && !nd.gone.Load() {
				if err := nd.start(); err != nil {
					c.tb.Errorf("%s does not come back: %v", nd.name, err)
				}
			}
		}
		c.WaitHashes()
	}
	c.ending.Store(true)
	for _, nd := range c.all() {
		nd.stop()
	}
	c.supervisors.Wait()
	for _, nd := range c.all() {
		nd.stop() // a supervisor may have started one again in between
	}
	c.supervisors.Wait()
	c.mu.Lock()
	closers := c.closers
	c.mu.Unlock()
	for _, f := range closers {
		f()
	}
	c.logFile.Close()
	if c.tb.Failed() {
		c.showLog()
		c.tb.Logf("kept: %s", c.dir)
		return
	}
	if err := removeAll(c.dir); err != nil {
		c.tb.Logf("%s not removed: %v", c.dir, err)
	}
}

// removeAll removes a folder that may contain read-only folders.
func removeAll(dir string) error {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// showLog prints the end of the masters' log above debug.
func (c *Cluster) showLog() {
	f, err := os.Open(filepath.Join(c.dir, "test.log"))
	if err != nil {
		return
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		return
	}
	var lines []string
	for line := range strings.Lines(string(raw)) {
		if !strings.Contains(line, "level=DEBUG") && !strings.Contains(line, "component=raft") {
			lines = append(lines, line)
		}
	}
	c.tb.Log("the masters' log ends with:\n" + strings.Join(lines[max(0, len(lines)-80):], ""))
}
