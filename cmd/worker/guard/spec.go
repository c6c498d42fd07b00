package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"scaleout/store/file"
)

// Verb is the hidden command line verb of the guard process: `<binary> guard <task folder>`.
const Verb = "guard"

// The files of a guard in its task folder.
const (
	OutputFile = "output.log" // what the package said, one line each: time, O or E, text
	exitFile   = "exit.json"
	stateFile  = "guard.json"
	lockFile   = "guard.lock"
	logFile    = "guard.log"
	socketFile = "guard.sock"
)

// Defaults of a Spec.
const (
	DefaultKillBefore     = 5 * time.Second
	DefaultGrace          = 10 * time.Second
	DefaultLinger         = time.Second
	DefaultMaxOutputBytes = 16 << 20
)

// Spec says what to run and within which bounds. It reaches the guard through a pipe: nothing of it is written to disk.
type Spec struct {
	Executable string        `json:"-"`       // the guard's program; "" is this process's own
	Folder     string        `json:"-"`       // the task folder; it must exist and belong to one attempt
	Command    string        `json:"command"` // the package's program, an absolute path
	Args       []string      `json:"args"`
	Env        []string      `json:"env"` // the whole environment
	Dir        string        `json:"dir"`
	Lease      Lease         `json:"lease"`                 // the first deadline; required
	KillBefore time.Duration `json:"kill_before"`           // how long before the deadline killing starts; 0 is 5 s
	RunTimeout time.Duration `json:"run_timeout,omitempty"` // how long the package may run; 0: as long as its lease goes on
	Grace      time.Duration `json:"grace"`                 // between a stop's polite signal and the kill; 0 is 10 s
	Linger     time.Duration `json:"linger"`                // what children may take to end after the package's own process did; 0 is 1 s
	MaxOutput  int64         `json:"max_output"`            // bytes of the output file; 0 is 16 MiB
	NoCgroup   bool          `json:"no_cgroup,omitempty"`   // do without a cgroup where one could be made
	Remove     []string      `json:"remove,omitempty"`      // files with secrets, removed when the package has ended
	Secrets    []string      `json:"secrets,omitempty"`     // what must not stand in the output; see MinSecret
}

func (s *Spec) fill() {
	if s.KillBefore <= 0 {
		s.KillBefore = DefaultKillBefore
	}
	if s.Grace <= 0 {
		s.Grace = DefaultGrace
	}
	if s.Linger <= 0 {
		s.Linger = DefaultLinger
	}
	if s.MaxOutput <= 0 {
		s.MaxOutput = DefaultMaxOutputBytes
	}
}

// Reason is why a package ended.
type Reason string

// The reasons of an Exit.
const (
	Exited      Reason = "exited"       // by itself, with Code (or Signal)
	Stopped     Reason = "stopped"      // after Stop
	Killed      Reason = "killed"       // after Kill
	Deadline    Reason = "deadline"     // its deadline came
	TimedOut    Reason = "timed_out"    // it ran for RunTimeout
	StartFailed Reason = "start_failed" // it never ran at all; Detail says why
	Lost        Reason = "lost"         // its guard died before it could say; nothing of the tree is left
)

// Exit is how a package ended. When one exists, no process of the package is left.
type Exit struct {
	Reason    Reason    `json:"reason"`
	Code      int       `json:"code"`                // exit code; -1 when a signal ended it, or unknown
	Signal    string    `json:"signal,omitempty"`    // the signal that ended it, if one did
	Elsewhere bool      `json:"elsewhere,omitempty"` // it never ran, for a reason that need not hold elsewhere or later
	Detail    string    `json:"detail,omitempty"`
	Started   time.Time `json:"started,omitzero"`
	Ended     time.Time `json:"ended"`
}

// Errors of this package.
var (
	ErrGone     = errors.New("guard: the package is gone")
	ErrStart    = errors.New("guard: the package was not started")
	ErrNotGone  = errors.New("guard: the package could not be killed in time")
	ErrNoAnswer = errors.New("guard: the guard process does not answer")
	ErrNoExit   = errors.New("guard: the task folder has no exit file")
)

// StartError is the error of Start when the package never ran. It is ErrStart.
type StartError struct{ Exit Exit }

func (e *StartError) Error() string { return ErrStart.Error() + ": " + e.Exit.Detail }

// Unwrap makes it ErrStart.
func (e *StartError) Unwrap() error { return ErrStart }

// ReadExit reads a task folder's exit file; ErrNoExit when there is none.
func ReadExit(folder string) (Exit, error) {
	var e Exit
	data, err := os.ReadFile(filepath.Join(folder, exitFile))
	if errors.Is(err, fs.ErrNotExist) {
		return e, fmt.Errorf("%w: %s", ErrNoExit, folder)
	}
	if err != nil {
		return e, fmt.Errorf("guard: read exit file: %w", err)
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return e, fmt.Errorf("guard: exit file in %s: %w", folder, err)
	}
	return e, nil
}

func writeExit(folder string, e Exit) error { return writeJSON(folder, exitFile, e) }

// state is what the next worker process needs to find the guard and, should the guard be dead, its tree.
type state struct {
	PID      int      `json:"pid"`
	Start    uint64   `json:"start"` // start time of PID in the kernel's own unit: a pid alone may have been given away
	Boot     string   `json:"boot"`
	Socket   string   `json:"socket"`
	Secret   string   `json:"secret"`
	Cgroup   string   `json:"cgroup,omitempty"`
	Package  int      `json:"package,omitempty"` // pid, process group and session of the package
	PkgStart uint64   `json:"package_start,omitempty"`
	Remove   []string `json:"remove,omitempty"`
}

func readState(folder string) (state, error) {
	var s state
	data, err := os.ReadFile(filepath.Join(folder, stateFile))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("guard: state file in %s: %w", folder, err)
	}
	return s, nil
}

// writeJSON replaces folder/name as a whole: a reader, or a machine that lost power, sees the old file or the new one.
func writeJSON(folder, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := file.Write(filepath.Join(folder, name), 0o600, append(data, '\n')); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	return nil
}
