package cluster

import (
	"testing"
	"time"
)

// Time in which the process stood still is nobody's: neither a look that came late nor a row of them makes a write
// slow, and a write that really does not end is measured in full.
func TestAwake(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name  string
		looks []time.Duration // between looks
		took  time.Duration   // of something, up to the last look
		want  time.Duration
	}{
		{"in time", []time.Duration{100 * ms, 100 * ms, 100 * ms}, 250 * ms, 250 * ms},
		{"a little late", []time.Duration{100 * ms, 190 * ms}, 250 * ms, 250 * ms},
		{"a pause in the middle", []time.Duration{100 * ms, 3000 * ms, 100 * ms}, 3150 * ms, 250 * ms},
		{"a pause before it", []time.Duration{100 * ms, 3000 * ms, 100 * ms, 100 * ms}, 150 * ms, 150 * ms},
		{"begun in the pause", []time.Duration{3000 * ms, 100 * ms}, 1100 * ms, 100 * ms},
		{"two pauses", []time.Duration{100 * ms, 3000 * ms, 100 * ms, 3000 * ms}, 6200 * ms, 400 * ms},
		{"nothing runs", []time.Duration{3000 * ms}, 0, 0},
		{"first look", nil, 500 * ms, 500 * ms},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := awakeClock{interval: 100 * ms}
			now := time.Now()
			a.look(now)
			for _, d := range tc.looks {
				now = now.Add(d)
				a.look(now)
			}
			if got := a.running(tc.took); got != tc.want {
				t.Errorf("%v of %v", got, tc.took)
			}
		})
	}
	t.Run("pauses without end", func(t *testing.T) {
		a := awakeClock{interval: 100 * ms}
		began := time.Now()
		now := began
		for a.look(now); a.running(now.Sub(began)) < 2*time.Second; a.look(now) {
			if now = now.Add(time.Second); now.Sub(began) > 5*time.Minute {
				t.Fatalf("%v of %v, and the disk still counts as healthy", a.running(now.Sub(began)), now.Sub(began))
			}
		}
		if len(a.pauses) > keptPauses {
			t.Errorf("%d pauses kept", len(a.pauses))
		}
	})
}
