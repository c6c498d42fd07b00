package catalog

// Completeness tells whether an operation's messages are all there.
type Completeness struct {
	// Complete: it has ended, and no message of it will come any more.
	Complete bool
	// Ended: only what Missing and LostAttempts say keeps it from being complete.
	Ended bool
	// Missing is how many messages workers have announced that have not come in.
	Missing int64
	// LostAttempts is how many attempts were lost with their workers, so that nobody knows how many messages there are of
	// them.
	LostAttempts int
}

// Completeness tells whether the execution's messages are all there.
func (x *Execution) Completeness() *Completeness {
	c := &Completeness{Ended: x.Status.HasEnded()}
	for i := range x.Attempts {
		a := &x.Attempts[i]
		c.Missing += a.Missing()
		if a.Outcome == Lost {
			c.LostAttempts++
		}
	}
	c.Complete = c.Ended && c.Missing == 0 && c.LostAttempts == 0
	return c
}
