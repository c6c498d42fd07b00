package guard

import (
	"time"

	"golang.org/x/sys/unix"
)

func clocks() (mono, boot time.Duration) {
	var m, b unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &m) == nil {
		mono = time.Duration(m.Nano())
	}
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &b) == nil {
		boot = time.Duration(b.Nano())
	}
	return mono, boot
}
