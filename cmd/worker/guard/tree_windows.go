package guard

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// tree is the package's processes: all members of a job object but this process. The guard puts itself into the job
// before it starts anything, so that a child is a member from its first instruction; the job dies with its only handle,
// which is the guard's, and everything in it with the job.
type tree struct {
	log  *slog.Logger
	job  windows.Handle
	cmd  *exec.Cmd
	done chan struct{}
	code int
}

func newTree(log *slog.Logger, _ bool) (*tree, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("guard: job object: %w", err)
	}
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{
			LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
		},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err == nil {
		err = windows.AssignProcessToJobObject(job, windows.CurrentProcess())
	}
	if err != nil {
		windows.CloseHandle(job)
		return nil, fmt.Errorf("guard: job object: %w", err)
	}
	return &tree{log: log, job: job, done: make(chan struct{})}, nil
}

func (t *tree) start(spec Spec, stdout, stderr *os.File) error {
	t.cmd = exec.Command(spec.Command, spec.Args...)
	t.cmd.Env, t.cmd.Dir, t.cmd.Stdout, t.cmd.Stderr = spec.Env, spec.Dir, stdout, stderr
	if t.cmd.Env == nil {
		t.cmd.Env = []string{}
	}
	// A group of its own, so that the polite signal reaches the package and not this process.
	t.cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	if err := t.cmd.Start(); err != nil {
		return err
	}
	go func() {
		t.cmd.Wait()
		t.code = t.cmd.ProcessState.ExitCode()
		close(t.done)
	}()
	return nil
}

func (t *tree) pid() int                { return t.cmd.Process.Pid }
func (t *tree) cgroupPath() string      { return "" }
func (t *tree) exited() <-chan struct{} { return t.done }
func (t *tree) alive() bool             { return len(t.others()) > 0 }

func (t *tree) result() (int, string) { return t.code, "" }

func (t *tree) terminate() {
	if err := windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(t.pid())); err != nil {
		t.log.Info("no polite signal for the package", "err", err)
	}
}

func (t *tree) kill() {
	wait := 2 * time.Millisecond
	for {
		left := t.others()
		for _, pid := range left {
			if h, err := windows.OpenProcess(windows.PROCESS_TERMINATE, false, pid); err == nil {
				windows.TerminateProcess(h, 1)
				windows.CloseHandle(h)
			}
		}
		if len(left) == 0 {
			break
		}
		time.Sleep(wait)
		wait = min(2*wait, time.Second)
	}
	<-t.done
}

// others lists the job's members but this process.
func (t *tree) others() []uint32 {
	for room := 64; ; room *= 4 {
		buf := make([]uintptr, room+1) // two 32-bit counts, then the ids
		err := windows.QueryInformationJobObject(t.job, windows.JobObjectBasicProcessIdList,
			uintptr(unsafe.Pointer(&buf[0])), uint32(len(buf)*int(unsafe.Sizeof(buf[0]))), nil)
		if err == windows.ERROR_MORE_DATA && room < 1<<16 {
			continue
		}
		if err != nil {
			t.log.Error("job object", "err", err)
			return nil
		}
		counts := (*[2]uint32)(unsafe.Pointer(&buf[0]))
		ids := unsafe.Slice((*uintptr)(unsafe.Add(unsafe.Pointer(&buf[0]), 8)), counts[1])
		var found []uint32
		for _, id := range ids {
			if int(id) != os.Getpid() {
				found = append(found, uint32(id))
			}
		}
		return found
	}
}

// close leaves the job to the end of the process: to close it here would end this process at once.
func (t *tree) close() {}

// killGuard ends a guard process, if the process with its number is still the same one; the job takes the tree along.
func killGuard(st state) {
	if st.PID <= 0 || startTime(st.PID) != st.Start {
		return
	}
	if h, err := windows.OpenProcess(windows.PROCESS_TERMINATE, false, uint32(st.PID)); err == nil {
		windows.TerminateProcess(h, 1)
		windows.CloseHandle(h)
	}
}

// killLeft has nothing to kill: the system ended the job with the guard. It only waits for the package's process.
func killLeft(st state, timeout time.Duration) error {
	for deadline := time.Now().Add(timeout); st.Package > 0 && startTime(st.Package) == st.PkgStart; time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not die", st.Package)
		}
	}
	return nil
}

// startTime is when pid started, in 100 ns since 1601; 0 when there is no such process any more.
func startTime(pid int) uint64 {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return 0
	}
	defer windows.CloseHandle(h)
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &created, &exited, &kernel, &user); err != nil {
		return 0
	}
	// A process that ended keeps its number while someone holds a handle.
	if exited.HighDateTime != 0 || exited.LowDateTime != 0 {
		return 0
	}
	return uint64(created.HighDateTime)<<32 | uint64(created.LowDateTime)
}

// bootID need not be known: a start time names a moment, not a distance from boot.
func bootID() string { return "" }

func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_NO_WINDOW}
}
