package worker

import (
	"testing"
	"time"

	"scaleout/cmd/worker/guard"
)

func TestWorthExtending(t *testing.T) {
	at := func(d time.Duration) guard.Lease {
		return guard.Lease{
			From: guard.Instant{Mono: time.Hour + d, Boot: time.Hour + d, Wall: int64(time.Hour + d)},
			For:  time.Minute,
		}
	}
	longer := at(0)
	longer.For = 10 * time.Minute
	for name, c := range map[string]struct {
		have, renewed guard.Lease
		want          bool
	}{
		"the same":       {at(0), at(0), false},
		"a moment later": {at(0), at(time.Second), false},
		"much later":     {at(0), at(10 * time.Second), true},
		"another length": {at(0), longer, true},
		"adopted":        {guard.Lease{}, at(0), true},
		"no renewal yet": {guard.Lease{}, guard.Lease{}, false},
		"an earlier one": {at(time.Minute), at(0), false},
	} {
		if got := worthExtending(c.have, c.renewed); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestLeaseStart(t *testing.T) {
	before, now := guard.Now(), time.Now()
	if got := leaseStart(before, now, now.Add(time.Second)); before.Since(got) != time.Second {
		t.Errorf("%v later", before.Since(got))
	}
	if got := leaseStart(before, now, time.Time{}); got != before {
		t.Error("without a time of sending, the lease begins before the call")
	}
}
