package admission

import (
	"sync"
	"time"
)

const (
	throttleEvery = 10 * time.Second
	throttleMost  = 1000 // reasons that are kept apart
)

// Throttle lets one log line per reason through every ten seconds, because strangers decide how often there is
// something to log. The zero value is ready to use.
type Throttle struct {
	mu   sync.Mutex
	last map[string]time.Time
	kept map[string]int
}

// Due reports whether a line may be written now, and returns how many were left out since the last one.
func (t *Throttle) Due(reason string, now time.Time) (silent int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil || len(t.last) >= throttleMost {
		t.last, t.kept = map[string]time.Time{}, map[string]int{}
	}
	if last, seen := t.last[reason]; seen && now.Sub(last) < throttleEvery {
		t.kept[reason]++
		return 0, false
	}
	silent = t.kept[reason]
	t.last[reason], t.kept[reason] = now, 0
	return silent, true
}
