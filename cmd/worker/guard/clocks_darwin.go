package guard

import (
	"time"

	"golang.org/x/sys/unix"
)

// clocks reads macOS's clocks: CLOCK_MONOTONIC goes on during sleep, and CLOCK_UPTIME_RAW stands still.
func clocks() (mono, boot time.Duration) {
	var m, b unix.Timespec
	if unix.ClockGettime(unix.CLOCK_UPTIME_RAW, &m) == nil {
		mono = time.Duration(m.Nano())
	}
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &b) == nil {
		boot = time.Duration(b.Nano())
	}
	return mono, boot
}
