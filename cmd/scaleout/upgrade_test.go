//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/fsm/command"
	"scaleout/httpapi/client"
)

// installation is one machine's program and the cluster that it runs: real binaries, real processes.
type installation struct {
	t      *testing.T
	dir    string
	exe    string
	data   string
	admin  *client.Client
	devLog string // log of dev
}

func compile(t *testing.T, out string, tags string) {
	t.Helper()
	compileIn(t, ".", out, tags)
}

// compileIn compiles the program whose main package is in the folder.
func compileIn(t *testing.T, folder, out, tags string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-tags", tags, "-ldflags", "-X main.version="+filepath.Base(out), "-o", out, ".")
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// install puts a version in the place of the one that is there, as a package manager does.
func (in *installation) install(version string) {
	in.t.Helper()
	from, err := os.Open(filepath.Join(in.dir, version))
	if err != nil {
		in.t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(in.exe+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		in.t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		in.t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		in.t.Fatal(err)
	}
	if err := os.Rename(in.exe+".new", in.exe); err != nil {
		in.t.Fatal(err)
	}
}

// eventually waits for a condition.
func (in *installation) eventually(what string, limit time.Duration, ok func() bool) {
	in.t.Helper()
	deadline, tick := time.NewTimer(limit), time.NewTicker(50*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			raw, _ := os.ReadFile(in.devLog) // for the person who reads why
			in.t.Fatalf("waited %v in vain: %s\n%s", limit, what, raw)
		case <-tick.C:
		}
	}
}

type devNode struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	PID     int    `json:"pid"`
}

func (in *installation) masters() []devNode {
	in.t.Helper()
	raw, err := os.ReadFile(filepath.Join(in.data, "dev.json"))
	if err != nil {
		in.t.Fatal(err)
	}
	var d struct {
		Masters []devNode `json:"masters"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		in.t.Fatal(err)
	}
	return d.Masters
}

// restart stops a master in good order and starts what is installed now.
func (in *installation) restart(m devNode) error {
	in.t.Helper()
	if err := syscall.Kill(m.PID, syscall.SIGTERM); err != nil {
		in.t.Fatal(err)
	}
	in.eventually(m.Name+" ends", 20*time.Second, func() bool { return errors.Is(syscall.Kill(m.PID, 0), syscall.ESRCH) })
	text, err := exec.Command(in.exe, "dev", "restart", m.Name, "--data", in.data).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	one, err := in.admin.At(m.Address)
	if err != nil {
		in.t.Fatal(err)
	}
	in.eventually(m.Name+" is ready", 30*time.Second, func() bool {
		r, err := one.Ready(in.t.Context())
		return err == nil && r.Ready
	})
	return nil
}

// freePorts finds n ports in a row that nobody listens on, below those that the system gives to outgoing connections.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		first, free := 10_000+rand.IntN(20_000), true
		for port := first; port < first+n && free; port++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if free = err == nil; free {
				l.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

func (in *installation) level() int {
	s, err := in.admin.Cluster(in.t.Context())
	if err != nil {
		return 0
	}
	return s.Level
}

// newInstallation makes the folder of a machine on which nothing is installed yet.
func newInstallation(t *testing.T) *installation {
	t.Helper()
	dir, err := os.MkdirTemp("", "up") // guards' sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &installation{t: t, dir: dir, exe: filepath.Join(dir, "scaleout"), data: filepath.Join(dir, "data"),
		devLog: filepath.Join(dir, "dev.log")}
}

// start starts a cluster of what is installed; it ends with the test.
func (in *installation) start() {
	t := in.t
	t.Helper()
	log, err := os.Create(in.devLog)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	dev := exec.Command(in.exe, "dev", "--port", fmt.Sprint(freePorts(t, 6)), "--workers", "1", "--data", in.data)
	dev.Stdout, dev.Stderr = log, log
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = dev.Process.Signal(os.Interrupt)
		if err := dev.Wait(); err != nil {
			t.Logf("dev ended with %v", err)
		}
	})
	in.eventually("the cluster stands", 60*time.Second,
		func() bool { _, err := os.Stat(filepath.Join(in.data, "env")); return err == nil })
	user := filepath.Join(in.data, "user")
	creds, err := pki.OpenCredentials(pki.CredentialsConfig{Files: pki.Files{
		CA: filepath.Join(user, pki.FileCA), Cert: filepath.Join(user, pki.FileCert), Key: filepath.Join(user, pki.FileKey),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, m := range in.masters() {
		addresses = append(addresses, m.Address)
	}
	if in.admin, err = (&app{}).clientWith(creds, addresses); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.admin.Close)
}

// load makes calls from now on. The function that it returns ends them, and fails the test if one of them failed.
func (in *installation) load() (end func()) {
	ctx, stop := context.WithCancel(in.t.Context())
	var writers sync.WaitGroup
	var mu sync.Mutex
	written, failed := 0, []error{}
	for writer := range 3 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				name := fmt.Sprintf("%d-%d-%d", time.Now().UnixNano(), writer, n)
				_, err := in.admin.Call(ctx, "create_folder", map[string]any{"folder_name": name})
				mu.Lock()
				if err == nil {
					written++
				} else if ctx.Err() == nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	return func() {
		in.t.Helper()
		stop()
		writers.Wait()
		if written == 0 || len(failed) > 0 {
			in.t.Errorf("%d writes, %d failed: %v", written, len(failed), errors.Join(failed...))
		}
	}
}

// The masters of a version are replaced one by one by those of the next, which knows a higher feature level, while
// calls go on: none fails. The level rises once all know it, and then the older version refuses to start.
func TestRollingUpgradeAndRefusedDowngrade(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	in := newInstallation(t)
	dir := in.dir
	compile(t, filepath.Join(dir, "older"), "scaleout_level1")
	compile(t, filepath.Join(dir, "newer"), "")
	in.install("older")
	in.start()
	if have := in.level(); have != 1 {
		t.Fatalf("the older version begins at level %d", have)
	}

	end := in.load()
	in.install("newer")
	for i, m := range in.masters() {
		if have := in.level(); have > 1 {
			t.Errorf("level %d after %d of 3 masters are newer", have, i)
		}
		if err := in.restart(m); err != nil {
			t.Fatal(err)
		}
	}
	in.eventually("the level rises", 60*time.Second, func() bool { return in.level() == command.Level })
	end()

	in.install("older")
	m := in.masters()[0]
	err := in.restart(m)
	if err == nil {
		t.Fatal("the older version started on the newer version's state")
	}
	logs, _ := filepath.Glob(filepath.Join(in.data, "logs", m.Name+"*"))
	text := err.Error()
	for _, file := range logs {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text += string(raw)
	}
	if !strings.Contains(text, fmt.Sprint("level ", command.Level)) || !strings.Contains(text, "up to 1") {
		t.Errorf("the refusal does not name the levels:\n%s", text[max(0, len(text)-2000):])
	}
	in.install("newer")
	text2, err := exec.Command(in.exe, "dev", "restart", m.Name, "--data", in.data).CombinedOutput()
	if err != nil {
		t.Fatalf("the newer version does not come back: %v: %s", err, text2)
	}
}
