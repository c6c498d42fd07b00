package cluster

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

const (
	clockEvery  = 10 * time.Second
	clockWarn   = 30 * time.Second
	clockLimit  = 5 * time.Minute
	clockForget = 10 * time.Minute
)

// clocks compares this node's wall clock with those of the other masters. It keeps a reading together with a monotonic
// instant, so that a step of this node's own clock shows at once instead of hiding in an old difference.
type clocks struct {
	wall func() time.Time
	log  *slog.Logger

	mu       sync.Mutex
	readings map[string]clockReading
	warned   time.Time
}

// clockReading is what another master's clock said at a moment of this node.
type clockReading struct {
	wall time.Time
	at   time.Time // monotonic
	rtt  time.Duration
}

func newClocks(wall func() time.Time, log *slog.Logger) *clocks {
	return &clocks{wall: wall, log: log, readings: make(map[string]clockReading)}
}

// note takes one answer: the other's clock, read between sent and received.
func (c *clocks) note(id string, wall time.Time, sent, received time.Time) {
	rtt := received.Sub(sent)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readings[id] = clockReading{wall: wall, at: sent.Add(rtt / 2), rtt: rtt}
}

// keep forgets masters that are not in ids.
func (c *clocks) keep(ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.readings {
		if !slices.Contains(ids, id) {
			delete(c.readings, id)
		}
	}
}

// offset returns how far another master's clock is ahead of this node's, and false if it is not known.
func (c *clocks) offset(id string) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.readings[id]
	if !ok {
		return 0, false
	}
	return c.ahead(r, time.Now()), true
}

func (c *clocks) ahead(r clockReading, now time.Time) time.Duration {
	// Round drops the monotonic part: the wall clocks are what is compared.
	return r.wall.Add(now.Sub(r.at)).Sub(c.wall().Round(0))
}

// median returns how far the masters' median is ahead of this node's clock, and of how many clocks it is the median.
// With an even number of clocks, the earlier of the two middle ones counts: state time never goes back, so a clock that
// is ahead does more harm.
func (c *clocks) median() (time.Duration, int) {
	now := time.Now()
	c.mu.Lock()
	offsets := []time.Duration{0}
	for _, r := range c.readings {
		if now.Sub(r.at) < clockForget {
			offsets = append(offsets, c.ahead(r, now))
		}
	}
	c.mu.Unlock()
	slices.Sort(offsets)
	return offsets[(len(offsets)-1)/2], len(offsets)
}

// stamp returns this node's clock, held within five minutes of the median, so that one wrong clock cannot carry state
// time away.
func (c *clocks) stamp() command.Time {
	m, _ := c.median()
	off := min(max(0, m-clockLimit), m+clockLimit)
	return command.At(c.wall().Round(0).Add(off))
}

// bad returns how far this node's clock is ahead, and whether that is so far off that this node should not lead. With
// two clocks it cannot be decided which is wrong.
func (c *clocks) bad() (time.Duration, bool) {
	m, count := c.median()
	return -m, count >= 3 && abs(m) > clockLimit
}

// warn logs, at most once a minute, which clocks are far apart.
func (c *clocks) warn(ctx context.Context, names func(id string) string) {
	now := time.Now()
	type far struct {
		id string
		by time.Duration
	}
	var fars []far
	c.mu.Lock()
	for id, r := range c.readings {
		if by := c.ahead(r, now); abs(by) > clockWarn && now.Sub(r.at) < clockForget {
			fars = append(fars, far{id, by})
		}
	}
	quiet := now.Sub(c.warned) < time.Minute
	if len(fars) > 0 && !quiet {
		c.warned = now
	}
	c.mu.Unlock()
	if quiet {
		return
	}
	for _, f := range fars {
		c.log.LogAttrs(ctx, slog.LevelWarn,
			"the clocks of two masters are apart; check their time synchronisation", slog.String(logkey.Master, names(f.id)),
			slog.Duration(logkey.Ahead, f.by.Round(time.Millisecond)), slog.Duration(logkey.Limit, clockLimit))
	}
}

func abs(d time.Duration) time.Duration {
	if d == math.MinInt64 {
		return math.MaxInt64
	}
	return max(d, -d)
}

// Now returns this node's clock as it stamps commands: held within five minutes of the median of the masters' clocks
// that it knows.
func (n *Node) Now() time.Time { return n.clocks.stamp().Time() }

// compareClocks asks several masters for their clocks at once. It returns when all have answered, a quarter of timeout
// after enough have answered, or after timeout: a dead master must not hold up a new leader for long.
func (n *Node) compareClocks(ctx context.Context, ids []string, enough int, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answers := make(chan bool, len(ids))
	for _, id := range ids {
		go func() {
			var answer clockAnswer
			sent := time.Now()
			err := n.peers.Call(ctx, id, clockPath, nil, nil, &answer)
			if err == nil {
				n.clocks.note(id, time.Unix(0, answer.Clock), sent, time.Now())
			}
			answers <- err == nil
		}()
	}
	good := 0
	for range ids {
		select {
		case <-ctx.Done():
			return
		case ok := <-answers:
			if ok {
				good++
			}
		}
		if good == enough {
			time.AfterFunc(timeout/4, cancel)
		}
	}
}

// clockRoutine compares clocks while this node leads, and hands leadership over if its own clock is far off.
func (n *Node) clockRoutine(ctx context.Context) error {
	for {
		_, servers := n.configuration()
		ids := others(servers, n.id)
		n.clocks.keep(ids)
		n.compareClocks(ctx, ids, len(ids)+1, n.cfg.Timing.Election)
		n.clocks.warn(ctx, n.nameOf)
		if by, bad := n.clocks.bad(); bad {
			n.log.LogAttrs(ctx, slog.LevelError,
				"this master's clock is too far from the others' to lead: leadership is handed over",
				slog.Duration(logkey.Ahead, by.Round(time.Millisecond)), slog.Duration(logkey.Limit, clockLimit))
			if err := n.Transfer(ctx, ""); err != nil && ctx.Err() == nil {
				n.log.LogAttrs(ctx, slog.LevelError,
					"leadership could not be handed over; commands are stamped within the limit of the others' clocks",
					slog.Any(logkey.Err, err))
			}
		}
		if !pauseFor(ctx, clockEvery) {
			return nil
		}
	}
}

// pauseFor waits for d and returns false if ctx ended first.
func pauseFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
