package guard

import "time"

// Instant is one moment on three clocks of this machine, comparable between its processes. Which clock is right depends
// on what happened since: one stands still while the host sleeps, another is set by hand.
type Instant struct {
	Mono time.Duration `json:"mono"` // since some start, standing still while the host sleeps where the system has such a clock
	Boot time.Duration `json:"boot"` // since boot, sleep included
	Wall int64         `json:"wall"` // nanoseconds since 1970
}

// Now reads the three clocks.
func Now() Instant {
	mono, boot := clocks()
	return Instant{Mono: mono, Boot: boot, Wall: time.Now().UnixNano()}
}

// Since is the time passed from i to now: the largest of the three clocks' answers. A wall clock set back counts for
// nothing, one set forward counts: ending a package too early is safe, too late is not.
func (i Instant) Since(now Instant) time.Duration {
	return max(now.Mono-i.Mono, now.Boot-i.Boot, time.Duration(now.Wall-i.Wall), 0)
}

// Lease is a right to run that began at From and lasts For.
type Lease struct {
	From Instant       `json:"from"`
	For  time.Duration `json:"for"`
}

// Left is what remains of the lease at now; negative once it has run out.
func (l Lease) Left(now Instant) time.Duration { return l.For - l.From.Since(now) }
