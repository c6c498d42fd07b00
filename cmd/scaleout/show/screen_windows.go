package show

import (
	"os"

	"golang.org/x/sys/windows"
)

// understands reports whether a console understands escape sequences; one of Windows 10 or later must be told to.
func understands(f *os.File) bool {
	h := windows.Handle(f.Fd())
	var mode uint32
	if err := windows.GetConsoleMode(h, &mode); err != nil {
		return false
	}
	return windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
