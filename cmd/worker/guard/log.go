package guard

// The keys of the guard process's log lines.
const (
	keyCount  = "count"
	keyGrace  = "grace"
	keyReason = "reason"
	keySignal = "signal"
	keySince  = "since"
)
