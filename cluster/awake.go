package cluster

import "time"

// keptPauses is how many pauses an awakeClock remembers. A longer time is then measured as longer than it was, so that
// a machine that pauses again and again cannot hide a disk that stalls.
const keptPauses = 64

// awakeClock measures how long something has taken, counting only time in which this process ran. Without it, a virtual
// machine that was paused for a snapshot, or a process that was stopped, would take the pause for a write that took so
// long, although nothing is wrong with its disk. look must be called about once per interval; if it is called later
// than that, the difference is a pause. It is not safe for concurrent use.
type awakeClock struct {
	interval time.Duration
	looked   time.Time
	pauses   []pause // oldest first
}

// pause is a time in which this process did not run, as far as the calls of look show.
type pause struct{ from, to time.Time }

// look notes that this process runs now, and a pause if the call is late by more than an interval.
func (a *awakeClock) look(now time.Time) {
	if from := a.looked.Add(a.interval); !a.looked.IsZero() && now.Sub(from) > a.interval {
		if len(a.pauses) == keptPauses {
			a.pauses = append(a.pauses[:0], a.pauses[1:]...)
		}
		a.pauses = append(a.pauses, pause{from, now})
	}
	a.looked = now
}

// running returns how much of the last d, up to the last look, this process ran.
func (a *awakeClock) running(d time.Duration) time.Duration {
	began, ran := a.looked.Add(-d), d
	for _, p := range a.pauses {
		if p.from.Before(began) {
			p.from = began
		}
		if p.to.After(p.from) {
			ran -= p.to.Sub(p.from)
		}
	}
	return ran
}
