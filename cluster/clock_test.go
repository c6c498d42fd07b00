package cluster

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"
)

func TestStampsAreHeldNearTheMedian(t *testing.T) {
	for what, c := range map[string]struct {
		own    time.Duration   // how far our clock is off
		others []time.Duration // and theirs
		want   time.Duration   // the stamp's difference from true time
		bad    bool
	}{
		"alone":                       {own: time.Hour, want: time.Hour},
		"all well":                    {own: 0, others: []time.Duration{time.Second, -time.Second}, want: 0},
		"ours a little ahead":         {own: 2 * time.Minute, others: []time.Duration{0, 0}, want: 2 * time.Minute},
		"ours far ahead":              {own: time.Hour, others: []time.Duration{0, 0}, want: 5 * time.Minute, bad: true},
		"ours far behind":             {own: -time.Hour, others: []time.Duration{0, 0}, want: -5 * time.Minute, bad: true},
		"another one far ahead":       {own: 0, others: []time.Duration{time.Hour, 0}, want: 0},
		"of two, ours ahead":          {own: time.Hour, others: []time.Duration{0}, want: 5 * time.Minute},
		"of two, the other one ahead": {own: 0, others: []time.Duration{time.Hour}, want: 0},
		"of four, two ahead": {own: time.Hour, others: []time.Duration{time.Hour, 0, 0}, want: 5 * time.Minute,
			bad: true},
	} {
		k := newClocks(func() time.Time { return time.Now().Add(c.own) }, slog.New(slog.DiscardHandler))
		for i, off := range c.others {
			now := time.Now()
			k.note(string(rune('a'+i)), now.Add(off), now, now)
		}
		got := time.Until(k.stamp().Time())
		if abs(got-c.want) > time.Second {
			t.Errorf("%s: the stamp is %v from true time; want %v", what, got, c.want)
		}
		if _, bad := k.bad(); bad != c.bad {
			t.Errorf("%s: too far off to lead: %v; want %v", what, bad, c.bad)
		}
	}
}

// A step of our own clock must show against readings taken before it.
func TestAStepOfOurClockShows(t *testing.T) {
	var off atomic.Int64
	k := newClocks(func() time.Time { return time.Now().Add(time.Duration(off.Load())) }, slog.New(slog.DiscardHandler))
	now := time.Now()
	k.note("a", now, now, now)
	k.note("b", now, now, now)
	off.Store(int64(time.Hour))
	if by, bad := k.bad(); !bad || abs(by-time.Hour) > time.Second {
		t.Errorf("ahead by %v, bad %v", by, bad)
	}
}

func TestAMasterWithAWrongClockDoesNotKeepLeading(t *testing.T) {
	w := newWorld(t)
	offs := map[string]*atomic.Int64{}
	for range 3 {
		h := w.add(expect(3))
		off := &atomic.Int64{}
		offs[h.name] = off
		h.options = append(h.options,
			func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(off.Load())) } })
		h.start()
	}
	l := w.leader()
	w.voters(3)
	offs[l.name].Store(int64(time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { _ = l.node.clockRoutine(ctx) }() // now instead of within ten seconds
	next := w.leader(w.except(l)...)
	if next == l {
		t.Fatal("it still leads")
	}
	w.write("x")
	if ahead := time.Until(next.fsm.Reader().Time().Time()); ahead > 5*time.Minute+time.Second {
		t.Errorf("state time is %v ahead", ahead)
	}
	if !w.logs.has("too far from the others") {
		t.Error("nobody was told")
	}
	cancel()
}
