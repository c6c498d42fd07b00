package guard

import (
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

var unbiased = windows.NewLazySystemDLL("kernel32.dll").NewProc("QueryUnbiasedInterruptTime")

func clocks() (mono, boot time.Duration) {
	boot = windows.DurationSinceBoot()
	var t uint64
	if ok, _, _ := unbiased.Call(uintptr(unsafe.Pointer(&t))); ok == 0 {
		return boot, boot
	}
	return time.Duration(t) * 100, boot
}
