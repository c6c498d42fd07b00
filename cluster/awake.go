package cluster

import "time"

// keptPauses is how many pauses an awake clock remembers. A time longer than all of them is then measured too long, so
// that a machine that pauses without end cannot hide a disk that stalls.
const keptPauses = 64

// awake measures how long something has taken in time in which this process ran. A virtual machine that is being
// snapshotted, or a process that was stopped, measures the pause as if a write had taken so long; nothing is wrong with
// its disk. Look is called about once per interval; what it is late beyond that is a pause. Not safe for several goroutines.
type awake struct {
	interval time.Duration
	looked   time.Time
	pauses   []pause // oldest first
}

// pause is a time in which this process did not run, as far as its looks tell.
type pause struct{ from, to time.Time }

// look notes that this process runs now, and a pause if the look is late by more than an interval.
func (a *awake) look(now time.Time) {
	if from := a.looked.Add(a.interval); !a.looked.IsZero() && now.Sub(from) > a.interval {
		if len(a.pauses) == keptPauses {
			a.pauses = append(a.pauses[:0], a.pauses[1:]...)
		}
		a.pauses = append(a.pauses, pause{from, now})
	}
	a.looked = now
}

// of returns what of the last d this process ran, up to the last look.
func (a *awake) of(d time.Duration) time.Duration {
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
