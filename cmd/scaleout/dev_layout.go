package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"scaleout/store/file"
)

// layout says what a dev cluster consists of and where it lies.
type layout struct {
	dir string

	Masters   int `json:"masters"`
	Workers   int `json:"workers"`
	Port      int `json:"port"`
	Bootstrap int `json:"bootstrap"` // masters that formed the cluster; later ones joined it
}

func (l layout) masterName(i int) string { return fmt.Sprintf("master-%d", i+1) }
func (l layout) workerName(i int) string { return fmt.Sprintf("worker-%d", i+1) }
func (l layout) httpsPort(i int) int     { return l.Port + 2*i }
func (l layout) gossipPort(i int) int    { return l.Port + 2*i + 1 }
func (l layout) address(i int) string    { return fmt.Sprintf("https://127.0.0.1:%d", l.httpsPort(i)) }

func (l layout) addresses() []string {
	out := make([]string, l.Masters)
	for i := range out {
		out[i] = l.address(i)
	}
	return out
}

// names are the masters, then the workers.
func (l layout) names() []string {
	var out []string
	for i := range l.Masters {
		out = append(out, l.masterName(i))
	}
	for i := range l.Workers {
		out = append(out, l.workerName(i))
	}
	return out
}

func (l layout) ca() string                { return filepath.Join(l.dir, "ca") }
func (l layout) logs() string              { return filepath.Join(l.dir, "logs") }
func (l layout) json() string              { return filepath.Join(l.dir, "dev.json") }
func (l layout) env() string               { return filepath.Join(l.dir, "env") }
func (l layout) control() string           { return filepath.Join(l.dir, "control.json") }
func (l layout) home(name string) string   { return filepath.Join(l.dir, name) }
func (l layout) user() string              { return filepath.Join(l.dir, "user") }
func (l layout) isMaster(name string) bool { return strings.HasPrefix(name, "master-") }
func (l layout) settings(name string) string {
	if l.isMaster(name) {
		return filepath.Join(l.home(name), "MasterSettings.config")
	}
	return filepath.Join(l.home(name), "WorkerSettings.config")
}

const layoutFile = "layout.json"

// savedLayout is what the directory was last run with; nil for a new one.
func savedLayout(dir string) (*layout, error) {
	raw, err := os.ReadFile(filepath.Join(dir, layoutFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l := &layout{dir: dir}
	if err := json.Unmarshal(raw, l); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, layoutFile), err)
	}
	return l, nil
}

func (l layout) save() error {
	raw, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return file.Write(filepath.Join(l.dir, layoutFile), 0o644, append(raw, '\n'))
}

func (l layout) check() error {
	switch {
	case l.Masters < 1 || l.Masters > 9 || l.Masters%2 == 0:
		return usagef("--masters %d: want 1, 3, 5, 7 or 9; an even number tolerates no more failures than one less", l.Masters)
	case l.Workers < 0 || l.Workers > 100:
		return usagef("--workers %d: want 0 to 100", l.Workers)
	case l.Port < 1 || l.gossipPort(l.Masters-1) > 65535:
		return usagef("--port %d: %d masters need the ports from there to %d, at most 65535", l.Port, l.Masters, l.gossipPort(l.Masters-1))
	}
	return nil
}
