package routine

import (
	"context"
	"log/slog"
	"time"

	"scaleout/fsm/logkey"
)

// late is how late a wake-up may be. After a later one, the routine no longer trusts that this process took renewals.
const late = time.Second

// Leases are the leader's lease clocks.
type Leases interface {
	NextDeadline() (time.Time, bool)
	// Sweep declares lost what is due, under a proof of leadership.
	Sweep(ctx context.Context) error
	// ExtendAll gives every lease its full duration again.
	ExtendAll()
}

// Expiry declares attempts lost whose leases have run out: every Interval (DealWithExpiredTasksIntervalInMs) and at the
// next deadline, whichever comes first. If it woke late, or if there is no fresh proof of leadership, this node may
// have missed renewals: then every lease gets its full duration again.
type Expiry struct {
	Interval time.Duration
	Leases   Leases
	Proved   func() time.Time // newest moment for which leadership is proved
	Logger   *slog.Logger

	now func() time.Time // nil: time.Now
}

// Run expires until ctx ends.
func (e *Expiry) Run(ctx context.Context) error {
	clock := e.now
	if clock == nil {
		clock = time.Now
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	swept := clock()
	for {
		// A lease that is granted after this moment may end before the one that is next now, so the wait is at most a
		// second.
		wait := min(late, e.Interval)
		if at, ok := e.Leases.NextDeadline(); ok {
			wait = max(0, min(wait, at.Sub(clock())))
		}
		planned := clock().Add(wait)
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		now := clock()
		if now.Sub(planned) > late {
			e.Logger.LogAttrs(ctx, slog.LevelWarn, "expiry woke late; every lease gets its full duration again",
				slog.Duration(logkey.Late, now.Sub(planned)))
			e.Leases.ExtendAll()
			continue
		}
		at, ok := e.Leases.NextDeadline()
		due := ok && !at.After(now)
		if !due && now.Sub(swept) < e.Interval {
			continue
		}
		swept = now
		if age := now.Sub(e.Proved()); due && age > late {
			e.Logger.LogAttrs(ctx, slog.LevelWarn, "no fresh proof of leadership; every lease gets its full duration again",
				slog.Duration(logkey.Age, age))
			e.Leases.ExtendAll()
			continue
		}
		if err := e.Leases.Sweep(ctx); err != nil && ctx.Err() == nil {
			e.Logger.LogAttrs(ctx, slog.LevelWarn, "expiry not done; trying again", slog.Any(logkey.Err, err))
			timer.Reset(late)
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
		}
	}
}
