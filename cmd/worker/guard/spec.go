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
	OutputFile = "output.log" // the package's output; a line is: time, O or E, text
	exitFile   = "exit.json"
	stateFile  = "guard.json"
	lockFile   = "guard.lock"
	logFile    = "guard.log"
	socketFile = "guard.sock"
)

// Defaults of a Spec.
const (
	defaultKillBefore     = 5 * time.Second
	DefaultGrace          = 10 * time.Second
	defaultLinger         = time.Second
	DefaultMaxOutputBytes = 16 << 20
)

// Spec says what to run and within which bounds. It is sent to the guard through a pipe and never written to disk.
type Spec struct {
	Executable string        `json:"-"`       // the guard's program; "": this process's own
	Folder     string        `json:"-"`       // the task folder; it exists and belongs to one attempt
	Command    string        `json:"command"` // the package's program, an absolute path
	Args       []string      `json:"args"`
	Env        []string      `json:"env"` // the whole environment
	Dir        string        `json:"dir"`
	Lease      Lease         `json:"lease"`                 // the first deadline; required
	KillBefore time.Duration `json:"kill_before"`           // how long before the lease's end it is ended; 0: 5 s
	RunTimeout time.Duration `json:"run_timeout,omitempty"` // how long it may run; 0: as long as its lease is renewed
	Grace      time.Duration `json:"grace"`                 // from the polite signal of a stop to the kill; 0: 10 s
	Linger     time.Duration `json:"linger"`                // how long other processes may run on after its own; 0: 1 s
	MaxOutput  int64         `json:"max_output"`            // bytes of the output file; 0: 16 MiB
	NoCgroup   bool          `json:"no_cgroup,omitempty"`   // do not use a cgroup
	Remove     []string      `json:"remove,omitempty"`      // files with secrets, removed when the package has ended
	Secrets    []string      `json:"secrets,omitempty"`     // values that must not appear in the output; see MinSecret
}

func (s *Spec) fill() {
	if s.KillBefore <= 0 {
		s.KillBefore = defaultKillBefore
	}
	if s.Grace <= 0 {
		s.Grace = DefaultGrace
	}
	if s.Linger <= 0 {
		s.Linger = defaultLinger
	}
	if s.MaxOutput <= 0 {
		s.MaxOutput = DefaultMaxOutputBytes
	}
}

// Reason says why a package ended.
type Reason string

// The reasons of an Exit.
const (
	Exited      Reason = "exited"       // by itself, with Code or Signal
	Stopped     Reason = "stopped"      // after Stop
	Killed      Reason = "killed"       // after Kill
	Deadline    Reason = "deadline"     // the end of its lease came
	TimedOut    Reason = "timed_out"    // it had run for RunTimeout
	StartFailed Reason = "start_failed" // it never ran; Detail says why
	Lost        Reason = "lost"         // its guard died and could not tell; nothing of the tree is left
)

// Exit says how a package ended. When it exists, no process of the package is left.
type Exit struct {
	Reason    Reason    `json:"reason"`
	Code      int       `json:"code"`                // exit code; -1 if a signal ended it or the code is unknown
	Signal    string    `json:"signal,omitempty"`    // the signal that ended it, if one did
	Elsewhere bool      `json:"elsewhere,omitempty"` // it never ran, and another machine or a later attempt may succeed
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

// StartError is the error of Start if the package never ran. It matches ErrStart.
type StartError struct{ Exit Exit }

func (e *StartError) Error() string { return ErrStart.Error() + ": " + e.Exit.Detail }

// Unwrap returns ErrStart.
func (e *StartError) Unwrap() error { return ErrStart }

// ReadExit reads a task folder's exit file. It returns ErrNoExit if there is none.
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

// state is what the next worker process needs to find the guard or, if the guard is dead, the tree.
type state struct {
	PID      int      `json:"pid"`
	Start    uint64   `json:"start"` // start time of PID in the kernel's unit: the pid may be reused by now
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
