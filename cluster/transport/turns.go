package transport

import (
	"net/netip"
	"sync"
	"time"
)

// turns bounds how many handshakes compute at a time, and for how long of the time: after each piece its place rests as
// long as that took, so that a flood of handshakes leaves three quarters of the processors to others, and rests again while
// this process comes late: then Raft does too, whose leader has a quarter of a second. The addresses take turns, each in the order of its own: who connects now and then does not wait
// for a flood from elsewhere. Waiting for bytes takes no turn: who is slow holds up nobody.
type turns struct {
	rests bool

	mu      sync.Mutex
	free    int
	waiting map[netip.Prefix][]chan struct{}
	next    []netip.Prefix // those that wait, in turn
}

const (
	// longestRest bounds a rest after a piece that took long because the processors were not to be had.
	longestRest = 50 * time.Millisecond
	// tooLate is by how much a rest may end late; mostRests is how many follow each other.
	tooLate   = 10 * time.Millisecond
	mostRests = 5
)

func newTurns(n int, rests bool) *turns {
	return &turns{rests: rests, free: n, waiting: map[netip.Prefix][]chan struct{}{}}
}

// enter waits for the turn of a handshake from an address.
func (t *turns) enter(from netip.Prefix) {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return
	}
	turn := make(chan struct{})
	if len(t.waiting[from]) == 0 {
		t.next = append(t.next, from)
	}
	t.waiting[from] = append(t.waiting[from], turn)
	t.mu.Unlock()
	<-turn
}

// leave ends a turn that took so long.
func (t *turns) leave(took time.Duration) {
	if !t.rests {
		t.pass()
		return
	}
	t.rest(took, mostRests)
}

// rest gives the place on after a rest, or after the next one when this one ended late. The rests that are left bound it.
func (t *turns) rest(d time.Duration, left int) {
	d = min(d, longestRest)
	due := time.Now().Add(d)
	time.AfterFunc(d, func() { t.rested(time.Since(due), left-1) })
}

func (t *turns) rested(late time.Duration, left int) {
	if late > tooLate && left > 0 {
		t.rest(late, left)
		return
	}
	t.pass()
}

// pass gives a place that has rested to whose turn it is.
func (t *turns) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.next) == 0 {
		t.free++
		return
	}
	from := t.next[0]
	t.next = t.next[1:]
	line := t.waiting[from]
	close(line[0])
	if line = line[1:]; len(line) == 0 {
		delete(t.waiting, from)
		return
	}
	t.waiting[from] = line
	t.next = append(t.next, from)
}

// enterTurn waits until this handshake may compute.
func (l *link) enterTurn(t *turns) {
	t.enter(l.address)
	l.turn = time.Now()
}

// endTurn ends the turn of a handshake, if it has one.
func (l *link) endTurn(t *turns) {
	if !l.turn.IsZero() {
		t.leave(time.Since(l.turn))
		l.turn = time.Time{}
	}
}

// Read takes a turn for each piece of a handshake that has come.
func (l *link) Read(p []byte) (int, error) {
	turns := l.turns.Load()
	if turns == nil {
		return l.Conn.Read(p)
	}
	l.endTurn(turns)
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.reg.mu.Lock()
		place := l.place
		l.reg.mu.Unlock()
		place.Spoke()
	}
	if err == nil {
		l.enterTurn(turns)
	}
	return n, err
}
