package cluster

import (
	"errors"
	"fmt"
	"time"
)

// Timing is how fast a cluster notices a failure and decides. All masters of a cluster should use the same.
type Timing struct {
	Heartbeat time.Duration // a follower that hears nothing for so long calls an election
	Election  time.Duration // a candidate that does not win within this time tries again
	Lease     time.Duration // a leader that reaches no majority for so long steps down
	Commit    time.Duration // followers learn of a commit within this time
}

// TimingProfile is one of the named sets: "lan" (also ""), "fast" for tests and one machine, "wan".
func TimingProfile(name string) (Timing, error) {
	const ms = time.Millisecond
	switch name {
	case "", "lan":
		return Timing{Heartbeat: 500 * ms, Election: 500 * ms, Lease: 250 * ms, Commit: 5 * ms}, nil
	case "fast":
		return Timing{Heartbeat: 200 * ms, Election: 200 * ms, Lease: 100 * ms, Commit: 5 * ms}, nil
	case "wan":
		return Timing{Heartbeat: 2000 * ms, Election: 2000 * ms, Lease: 1000 * ms, Commit: 20 * ms}, nil
	}
	return Timing{}, fmt.Errorf("timing profile %q: want lan, fast or wan", name)
}

// Check returns every relation between the timings that does not hold. Timings that are fine one by one may still make
// a cluster that never elects a leader.
func (t Timing) Check() error {
	var errs []error
	rule := func(ok bool, format string, a ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	rule(t.Heartbeat >= 50*time.Millisecond, "heartbeat time-out %v: want at least 50ms", t.Heartbeat)
	rule(t.Election >= t.Heartbeat,
		"election time-out %v is shorter than the heartbeat time-out %v: want at least as long", t.Election, t.Heartbeat)
	rule(t.Election <= 30*time.Second, "election time-out %v: want at most 30s", t.Election)
	rule(t.Lease >= 25*time.Millisecond, "leader lease %v: want at least 25ms", t.Lease)
	rule(2*t.Lease <= t.Heartbeat,
		"leader lease %v is more than half of the heartbeat time-out %v: an old leader would still hope when a new one is "+
			"elected", t.Lease, t.Heartbeat)
	rule(t.Commit >= time.Millisecond, "commit time-out %v: want at least 1ms", t.Commit)
	rule(10*t.Commit <= t.Heartbeat,
		"commit time-out %v is more than a tenth of the heartbeat time-out %v: followers would call elections while they "+
			"wait for it", t.Commit, t.Heartbeat)
	if len(errs) > 0 {
		return fmt.Errorf("timing: %w", errors.Join(errs...))
	}
	return nil
}

// stall is how long a write of this node may run before the node gives up leading.
func (t Timing) stall() time.Duration { return max(2*time.Second, 4*t.Election) }

// doubt is how long a leader may be without a proof before it ends the calls that it holds.
func (t Timing) doubt() time.Duration { return 2 * t.Election }
