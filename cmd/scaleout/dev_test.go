package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"scaleout/cmd/dev"
	"scaleout/testcluster"
)

// layoutOf is what a command line leads to.
func layoutOf(t *testing.T, args ...string) (dev.Layout, error) {
	t.Helper()
	var f devFlags
	var l dev.Layout
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
	raw, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "layout.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := layoutOf(t, "--data", dir); err != nil || again != first {
		t.Fatalf("%+v, want %+v (%v)", again, first, err)
	}
	grown, err := layoutOf(t, "--data", dir, "--masters", "5", "--workers", "0")
	if err != nil || grown.Masters != 5 || grown.Workers != 0 || grown.Bootstrap != 3 || grown.Port != 9000 {
		t.Fatalf("%+v %v", grown, err)
	}
	if _, err := layoutOf(t, "--data", dir, "--masters", "1"); err == nil ||
		!strings.Contains(err.Error(), "cluster of 3") {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := layoutOf(t, "--data", dir); err == nil || !strings.Contains(err.Error(), "layout.json") {
		t.Fatal(err)
	}
}

func TestALayoutThatCannotBeRunIsAUsageError(t *testing.T) {
	for _, flag := range []string{"--masters", "--workers", "--port"} {
		t.Run(flag, func(t *testing.T) {
			_, err := layoutOf(t, "--data", t.TempDir(), flag, "-2")
			var usage *usageError
			if !errors.As(err, &usage) || !strings.HasPrefix(err.Error(), flag+" -2: ") {
				t.Error(err)
			}
		})
	}
}

// freeRow is the first port of a row that is free, long enough for three masters.
func freeRow(t *testing.T) int {
	t.Helper()
	return testcluster.FreePorts(t, 6)
}

func TestTakenPortsAreNamedBeforeAnythingStarts(t *testing.T) {
	port, dir := freeRow(t), t.TempDir()
	tcp, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+2))
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port+5))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, verb := range []string{"dev", "demo"} {
		t.Run(verb, func(t *testing.T) {
			code, _, errs := execute(t, verb, "--port", fmt.Sprint(port), "--data", dir)
			if code != exitError {
				t.Errorf("exit %d", code)
			}
			for _, want := range []string{
				fmt.Sprintf("TCP %d (HTTPS of master-2)", port+2), fmt.Sprintf("UDP %d (gossip of master-3)", port+5), "--port",
			} {
				if !strings.Contains(errs, want) {
					t.Errorf("%q is missing in\n%s", want, errs)
				}
			}
			if strings.Contains(errs, "master-1)") {
				t.Errorf("a free port is named:\n%s", errs)
			}
			if files, err := os.ReadDir(filepath.Join(dir, "master-1")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something was prepared: %v, %v", files, err)
			}
		})
	}
}

// fakeDev answers as the process of a dev does that runs on dir.
func fakeDev(t *testing.T, dir string, list []dev.Child) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	control, err := json.Marshal(map[string]string{"address": listener.Addr().String(), "token": "t"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "control.json"), control, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			var in map[string]string
			answer := map[string]string{"text": string(text)}
			if err := json.NewDecoder(conn).Decode(&in); err != nil || in["verb"] != "status" || in["token"] != "t" {
				answer = map[string]string{"error": fmt.Sprint("asked for ", in)}
			}
			_ = json.NewEncoder(conn).Encode(answer)
			conn.Close()
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
}

func TestStatusOfARunningDev(t *testing.T) {
	dir := t.TempDir()
	fakeDev(t, dir, []dev.Child{
		{Name: "master-1", PID: 4711, State: dev.StateRunning, Address: "https://127.0.0.1:9000"},
		{Name: "worker-1", PID: 4711, State: dev.StateEnded},
	})
	var list []map[string]any
	if err := json.Unmarshal([]byte(must(t, "dev", "status", "--data", dir, "-o", "json")), &list); err != nil ||
		len(list) != 2 {
		t.Fatalf("%v %v", list, err)
	}
	m := list[0]
	if m["name"] != "master-1" || m["pid"] != 4711.0 || m["state"] != "running" ||
		m["address"] != "https://127.0.0.1:9000" {
		t.Errorf("%+v", m)
	}
	if w := list[1]; w["name"] != "worker-1" || w["state"] != "ended" || w["address"] != nil {
		t.Errorf("%+v", w)
	}
	if out := must(t, "dev", "status", "--data", dir); !strings.Contains(out, "4711") || !strings.Contains(out, "ended") {
		t.Errorf("%s", out)
	}
	for _, test := range []struct {
		name, out, errs string
		code            int
	}{
		{"master-1", "4711\n", "", exitOK},
		{"worker-1", "", "worker-1 (pid 4711) has ended; 'scaleout dev restart worker-1'", exitError},
		{"mastr-1", "", "did you mean master-1?", exitError},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, out, errs := execute(t, "dev", "pid", test.name, "--data", dir)
			if code != test.code || out != test.out || !strings.Contains(errs, test.errs) {
				t.Errorf("exit %d: %s%s", code, out, errs)
			}
		})
	}
}
