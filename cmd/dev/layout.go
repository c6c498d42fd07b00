package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"scaleout/cluster/pki"
	"scaleout/store/file"
)

// Layout says what a cluster consists of and where it lies.
type Layout struct {
	Dir string `json:"-"` // data directory, absolute

	Masters   int `json:"masters"`
	Workers   int `json:"workers"`
	Port      int `json:"port"`      // HTTPS port of the first master; each master takes two ports, the second for gossip
	Bootstrap int `json:"bootstrap"` // masters that formed the cluster; later ones joined it
}

func (l Layout) masterName(i int) string { return fmt.Sprintf("master-%d", i+1) }
func (l Layout) workerName(i int) string { return fmt.Sprintf("worker-%d", i+1) }
func (l Layout) httpsPort(i int) int     { return l.Port + 2*i }
func (l Layout) gossipPort(i int) int    { return l.Port + 2*i + 1 }
func (l Layout) address(i int) string    { return fmt.Sprintf("https://127.0.0.1:%d", l.httpsPort(i)) }

func (l Layout) addresses() []string {
	out := make([]string, l.Masters)
	for i := range out {
		out[i] = l.address(i)
	}
	return out
}

// Names are the masters, then the workers.
func (l Layout) Names() []string {
	var out []string
	for i := range l.Masters {
		out = append(out, l.masterName(i))
	}
	for i := range l.Workers {
		out = append(out, l.workerName(i))
	}
	return out
}

// Logs is the folder of the logs, Env the file that a shell reads to reach the cluster.
func (l Layout) Logs() string { return filepath.Join(l.Dir, "logs") }
func (l Layout) Env() string  { return filepath.Join(l.Dir, "env") }

func (l Layout) ca() string                { return filepath.Join(l.Dir, "ca") }
func (l Layout) listFile() string          { return filepath.Join(l.Dir, "dev.json") }
func (l Layout) controlFile() string       { return filepath.Join(l.Dir, "control.json") }
func (l Layout) home(name string) string   { return filepath.Join(l.Dir, name) }
func (l Layout) stderr(name string) string { return filepath.Join(l.Logs(), name+".stderr") }
func (l Layout) isMaster(name string) bool { return strings.HasPrefix(name, "master-") }
func (l Layout) settings(name string) string {
	if l.isMaster(name) {
		return filepath.Join(l.home(name), "MasterSettings.config")
	}
	return filepath.Join(l.home(name), "WorkerSettings.config")
}

// userFolder holds the certificate of the person who uses the cluster.
func (l Layout) userFolder() string { return filepath.Join(l.Dir, "user") }

func (l Layout) userFiles() pki.Files {
	in := func(base string) string { return filepath.Join(l.userFolder(), base) }
	return pki.Files{CA: in(pki.FileCA), Cert: in(pki.FileCert), Key: in(pki.FileKey)}
}

const layoutFile = "layout.json"

// Saved is the layout that a data directory was last run with; nil for a new one.
func Saved(dir string) (*Layout, error) {
	raw, err := os.ReadFile(filepath.Join(dir, layoutFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l := &Layout{Dir: dir}
	if err := json.Unmarshal(raw, l); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, layoutFile), err)
	}
	return l, nil
}

func (l Layout) save() error {
	raw, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return file.Write(filepath.Join(l.Dir, layoutFile), 0o644, append(raw, '\n'))
}

// Check refuses what cannot be run. Its error begins with the JSON name of the field.
func (l Layout) Check() error {
	switch {
	case l.Masters < 1 || l.Masters > 9 || l.Masters%2 == 0:
		return fmt.Errorf("masters %d: want 1, 3, 5, 7 or 9; an even number tolerates no more failures than one less",
			l.Masters)
	case l.Workers < 0 || l.Workers > 100:
		return fmt.Errorf("workers %d: want 0 to 100", l.Workers)
	case l.Port < 1 || l.gossipPort(l.Masters-1) > 65535:
		return fmt.Errorf("port %d: %d masters need the ports from there to %d, at most 65535",
			l.Port, l.Masters, l.gossipPort(l.Masters-1))
	}
	return nil
}
