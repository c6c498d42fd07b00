package process

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps the console's Ctrl-C from the child: its parent decides when it ends.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
