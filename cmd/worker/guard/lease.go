package guard

import "time"

// Instant is one moment on three clocks of this machine; all processes of the machine can compare instants. Which clock
// is right depends on what happened since: one stands still while the host sleeps, another may be set by an operator.
type Instant struct {
	Mono time.Duration `json:"mono"` // since some start; stands still while the host sleeps, on systems with such a clock
	Boot time.Duration `json:"boot"` // since boot, including sleep
	Wall int64         `json:"wall"` // nanoseconds since 1970
}

// Now reads the three clocks.
func Now() Instant {
	mono, boot := clocks()
	return Instant{Mono: mono, Boot: boot, Wall: time.Now().UnixNano()}
}

// Since returns the time that has passed from i to now: the largest of what the three clocks show. A wall clock that
// was set back has no effect, one that was set forward has: ending a package too early is safe, ending it too late is
// not.
func (i Instant) Since(now Instant) time.Duration {
	return max(now.Mono-i.Mono, now.Boot-i.Boot, time.Duration(now.Wall-i.Wall), 0)
}

// Lease is the right to run from From on, for the duration For.
type Lease struct {
	From Instant       `json:"from"`
	For  time.Duration `json:"for"`
}

// Left returns what remains of the lease at now. It is negative after the lease has ended.
func (l Lease) Left(now Instant) time.Duration { return l.For - l.From.Since(now) }
