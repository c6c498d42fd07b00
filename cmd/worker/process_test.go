//go:build unix

package worker

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"scaleout/cluster/pki"
	"scaleout/cmd/worker/guard"
	"scaleout/cmd/worker/spool"
	"scaleout/httpapi/wire"
)

// The worker as a process of its own.

const childEnv = "WORKER_TEST_CHILD"

func child() int {
	creds, err := pki.OpenCredentials(pki.CredentialsConfig{Files: pki.Files{
		CA:   filepath.Join(os.Getenv("WORKER_TEST_CERTS"), pki.FileCA),
		Cert: filepath.Join(os.Getenv("WORKER_TEST_CERTS"), pki.FileCert),
		Key:  filepath.Join(os.Getenv("WORKER_TEST_CERTS"), pki.FileKey),
	}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	c, err := Connect(os.Getenv("WORKER_TEST_MASTER"), creds, nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	w, err := New(Config{Masters: c, DataDirectory: os.Getenv(childEnv), MachineID: "machine", BootID: "boot"})
	if err == nil {
		fmt.Println("up")
		err = w.Run(context.Background())
	}
	fmt.Println(err)
	return 1
}

func (m *fakeMaster) child(dir string) *exec.Cmd {
	m.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir, "WORKER_TEST_CERTS="+m.certs, "WORKER_TEST_MASTER="+m.server.URL)
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		m.t.Fatalf("the worker said %q, %v", line, err)
	}
	return cmd
}

func TestWorkerProcessKilled(t *testing.T) {
	m := newFakeMaster(t)
	dir := t.TempDir()
	gate := filepath.Join(t.TempDir(), "gate")
	text, file := countedScript(t, fmt.Sprintf(`echo before; while [ ! -e %s ]; do sleep 0.01; done; echo after`, gate))
	adopted := m.script(1, text)
	quick, quickFile := countedScript(t, fmt.Sprintf(`while [ ! -e %s.first ]; do sleep 0.01; done; exit 4`, gate))
	ended := m.script(2, quick)
	cmd := m.child(dir)
	m.until("both run", func() bool { return runs(t, file) == 1 && runs(t, quickFile) == 1 })
	m.until("the first message", func() bool { return len(m.messages[adopted.attemptRef()]) == 1 })
	cmd.Process.Kill()
	cmd.Wait()
	// One ends while no worker is there.
	if err := os.WriteFile(gate+".first", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.until("it has ended", func() bool {
		_, err := guard.ReadExit(filepath.Join(dir, "Tasks", spool.Key{TaskID: 2, Attempt: 1}.String()))
		return err == nil
	})
	m.worker(m.config(dir))
	m.until("registered again", func() bool { return len(m.registers) == 2 })
	m.mu.Lock()
	reg := m.registers[1]
	m.mu.Unlock()
	if len(reg.Running) != 1 || reg.Running[0] != adopted.attemptRef() || len(reg.Ended) != 1 || reg.Ended[0].TaskID != 2 {
		t.Errorf("the second registration has %+v and %+v", reg.Running, reg.Ended)
	}
	m.mu.Lock()
	if ended.ended == nil {
		t.Error("what ended while no worker was there did not come with the registration")
	}
	m.mu.Unlock()
	if e := m.ended(ended); e.Outcome != wire.OutcomeFailed || e.ExitCode != 4 {
		t.Errorf("%+v", e)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := m.ended(adopted); e.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v", e)
	}
	if runs(t, file) != 1 || runs(t, quickFile) != 1 {
		t.Errorf("runs: %d, %d", runs(t, file), runs(t, quickFile))
	}
	m.until("the last message", func() bool { return len(m.messages[adopted.attemptRef()]) >= 2 })
	if got := strings.Join(m.texts(adopted), "|"); got != "before|after" {
		t.Errorf("messages %q", got)
	}
}

func TestGuardsOfAnotherCatalog(t *testing.T) {
	// The data directory stays, the cluster is a new one whose numbers begin again.
	m := newFakeMaster(t)
	dir := t.TempDir()
	w := m.worker(m.config(dir))
	if e := m.ended(m.script(1, "exit 5")); e.ExitCode != 5 {
		t.Fatalf("%+v", e)
	}
	w.stop()
	if err := w.wait(); err != nil {
		t.Fatal(err)
	}
	other := newFakeMaster(t)
	text, file := countedScript(t, "exit 0")
	other.worker(other.config(dir))
	if e := other.ended(other.script(1, text)); e.Outcome != wire.OutcomeSucceeded || runs(t, file) != 1 {
		t.Errorf("%+v, %d runs", e, runs(t, file))
	}
}
