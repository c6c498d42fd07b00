package guard

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
	"unsafe"

	"scaleout/cmd/worker/logger"

	"golang.org/x/sys/windows"
)

// tree is the package's processes: all members of a job object except this process. The guard joins the job before it
// starts anything, so a child is a member from its first instruction. The guard has the only handle of the job. When
// the guard ends, the job ends, and everything in the job with it.
type tree struct {
	log  logger.Logger
	job  windows.Handle
	cmd  *exec.Cmd
	done chan struct{}
	code int
}

func newTree(log logger.Logger, _ bool) (*tree, error) {
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
	// The package gets a group of its own, so that the polite signal reaches the package and not this process.
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
		t.log.Info("the package cannot be asked to end", logger.Err(err))
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

// others lists the job's members without this process.
func (t *tree) others() []uint32 {
	for room := 64; ; room *= 4 {
		buf := make([]uintptr, room+1) // two 32-bit counts, then the ids
		err := windows.QueryInformationJobObject(t.job, windows.JobObjectBasicProcessIdList,
			uintptr(unsafe.Pointer(&buf[0])), uint32(len(buf)*int(unsafe.Sizeof(buf[0]))), nil)
		if err == windows.ERROR_MORE_DATA && room < 1<<16 {
			continue
		}
		if err != nil {
			t.log.Error("the members of the job cannot be listed", logger.Err(err))
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

// close does nothing: closing the job would end this process at once. The job ends with this process.
func (t *tree) close() {}

// killGuard kills a guard process if its pid still belongs to the same process. The tree ends with the guard's job.
func killGuard(st state) {
	if st.PID <= 0 || startTime(st.PID) != st.Start {
		return
	}
	if h, err := windows.OpenProcess(windows.PROCESS_TERMINATE, false, uint32(st.PID)); err == nil {
		windows.TerminateProcess(h, 1)
		windows.CloseHandle(h)
	}
}

// killOrphans waits for the end of the package's process. It has nothing to kill: the system ended the job with the
// guard.
func killOrphans(st state, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for ; st.Package > 0 && startTime(st.Package) == st.PkgStart; time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not die", st.Package)
		}
	}
	return nil
}

// startTime returns when pid started, in units of 100 ns since 1601, and 0 if there is no such process any more.
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
	// An ended process keeps its number while somebody has a handle of it.
	if exited.HighDateTime != 0 || exited.LowDateTime != 0 {
		return 0
	}
	return uint64(created.HighDateTime)<<32 | uint64(created.LowDateTime)
}

// bootID returns nothing: a start time on Windows is a moment and not a time since boot.
func bootID() string { return "" }

func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_NO_WINDOW}
}
