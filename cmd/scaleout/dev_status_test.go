package main

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

func TestStatusOfARunningDev(t *testing.T) {
	ended := make(chan struct{})
	close(ended)
	s := &stage{layout: layout{dir: t.TempDir(), Masters: 1, Workers: 1, Port: 9000}, children: map[string]*child{
		"master-1": {name: "master-1", cmd: &exec.Cmd{}, done: make(chan struct{})},
		"worker-1": {name: "worker-1", cmd: &exec.Cmd{}, done: ended},
	}}
	c, err := openControl(s.control(), map[string]devVerb{"status": func(ctx context.Context, name string) (string, error) {
		text, err := s.status(ctx, name)
		return strings.ReplaceAll(text, `"pid":0`, `"pid":4711`), err
	}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(c.serve)
	defer wg.Wait()
	defer c.close()

	var list []devProcess
	if err := json.Unmarshal([]byte(must(t, "dev", "status", "--data", s.dir, "-o", "json")), &list); err != nil || len(list) != 2 {
		t.Fatalf("%v %v", list, err)
	}
	if m := list[0]; m.Name != "master-1" || m.PID != 4711 || m.State != "running" || m.Address != "https://127.0.0.1:9000" {
		t.Errorf("%+v", m)
	}
	if w := list[1]; w.Name != "worker-1" || w.State != "ended" || w.Address != "" {
		t.Errorf("%+v", w)
	}
	if out := must(t, "dev", "status", "--data", s.dir); !strings.Contains(out, "4711") || !strings.Contains(out, "ended") {
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
			code, out, errs := execute(t, "dev", "pid", test.name, "--data", s.dir)
			if code != test.code || out != test.out || !strings.Contains(errs, test.errs) {
				t.Errorf("exit %d: %s%s", code, out, errs)
			}
		})
	}
}
