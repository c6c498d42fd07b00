package transport

import (
	"net/netip"
	"sync"
	"time"
)

// turns bounds how many handshakes compute at a time, and for which part of the time. After each piece of computing,
// its place pauses for as long as the piece took, so that a flood of handshakes leaves three quarters of the processors
// to others. It pauses again if this process wakes late, because then Raft wakes late too, and its leader has a quarter
// of a second. The addresses take turns, each with its own queue, so a client that connects now and then does not wait
// for a flood from elsewhere. A handshake that waits for bytes holds no place, so a slow client holds up nobody.
type turns struct {
	pauses bool

	mu      sync.Mutex
	free    int
	waiting map[netip.Prefix][]chan struct{}
	next    []netip.Prefix // those that wait, in turn
}

const (
	// longestPause bounds the pause after a piece that took long because no processor was free.
	longestPause = 50 * time.Millisecond
	// tooLate is how late a pause may end; mostPauses is how many pauses follow each other at most.
	tooLate    = 10 * time.Millisecond
	mostPauses = 5
)

func newTurns(n int, pauses bool) *turns {
	return &turns{pauses: pauses, free: n, waiting: map[netip.Prefix][]chan struct{}{}}
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
	if !t.pauses {
		t.pass()
		return
	}
	t.pause(took, mostPauses)
}

// pause passes the place on after a pause. If the pause ends late, another one follows, as long as some are left.
func (t *turns) pause(d time.Duration, left int) {
	d = min(d, longestPause)
	due := time.Now().Add(d)
	time.AfterFunc(d, func() { t.paused(time.Since(due), left-1) })
}

func (t *turns) paused(late time.Duration, left int) {
	if late > tooLate && left > 0 {
		t.pause(late, left)
		return
	}
	t.pass()
}

// pass gives a free place to the handshake whose turn it is.
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

// Read takes a turn for each piece of a handshake that has arrived.
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
