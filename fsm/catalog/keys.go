package catalog

import (
	"crypto/sha256"
	"sync"
	"time"

	"scaleout/fsm/command"
)

// How long a request key lives, in the state's time, and how many are kept. A key that was chosen by its caller
// protects a day of retries; one that a client library made protects one call.
const (
	chosenLife   = 24 * time.Hour
	libraryLife  = 2 * time.Minute
	chosenFloor  = 15 * time.Minute // a chosen key younger than this never makes room
	chosenLimit  = 1_000_000
	libraryLimit = 2_000_000
)

// keyStore keeps the answers to keyed commands. It stands outside go-memdb: millions of short-lived rows would cost a
// kilobyte each. The state's goroutine writes; lookups come from anywhere.
type keyStore struct {
	mu      sync.RWMutex
	library *ring
	chosen  *ring
	share   int // of the chosen ring, for one caller
}

func newKeyStore() *keyStore { return newKeyStoreOf(libraryLimit, chosenLimit) }

func newKeyStoreOf(library, chosen int) *keyStore {
	return &keyStore{library: newRing(library), chosen: newRing(chosen), share: max(chosen/2, 1)}
}

// keyID identifies a caller's key. Two that differ and share 128 bits of SHA-256 do not occur.
type keyID [16]byte

func idOf(c command.Caller, key string) (id keyID) {
	h := sha256.New()
	for _, s := range []string{c.Kind, c.Name, key} {
		_, _ = h.Write([]byte(s))
		_, _ = h.Write([]byte{0})
	}
	copy(id[:], h.Sum(nil))
	return id
}

// keyEntry is one kept answer.
type keyEntry struct {
	ID     keyID        `cbor:"1,keyasint"`
	Caller string       `cbor:"2,keyasint"` // kind and name
	At     command.Time `cbor:"3,keyasint"`
	Waits  int64        `cbor:"4,keyasint,omitempty"` // execution whose end its call waits for
	Answer []byte       `cbor:"5,keyasint"`           // a KeyedAnswer
}

func callerOf(c command.Caller) string { return c.Kind + ":" + c.Name }

// expires is when an entry's life ends: never while the execution that its call waits for lives.
func (e *keyEntry) expires(r *Reader, life time.Duration) (command.Time, bool) {
	at := e.At
	if e.Waits != 0 {
		switch x, ok := r.Execution(e.Waits); {
		case ok && !x.Status.HasEnded():
			return 0, false
		case ok:
			at = max(at, x.Ended)
		}
	}
	return at.Add(life), true
}

func (e *keyEntry) dead(r *Reader, life time.Duration) bool {
	end, ends := e.expires(r, life)
	return ends && end < r.meta.Time
}

// lookup finds a living key in either ring.
func (k *keyStore) lookup(r *Reader, c command.Caller, key string) (KeyedAnswer, bool) {
	id := idOf(c, key)
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, kind := range []struct {
		*ring
		life time.Duration
	}{{k.chosen, chosenLife}, {k.library, libraryLife}} {
		e := kind.find(id)
		if e == nil || e.dead(r, kind.life) {
			continue
		}
		var a KeyedAnswer
		must(command.Unmarshal(e.Answer, &a))
		return a, true
	}
	return KeyedAnswer{}, false
}

// admit makes room for a key of the caller and reports whether there is any. It is called before the command is
// applied: a command that is told 429 has done nothing.
func (k *keyStore) admit(r *Reader, c command.Caller, chosen bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.library.expire(r, libraryLife)
	k.chosen.expire(r, chosenLife)
	if !chosen {
		if k.library.alive >= k.library.limit {
			k.library.pop()
		}
		return true
	}
	caller := callerOf(c)
	old := r.meta.Time.Add(-chosenFloor)
	if k.chosen.held(caller) >= k.share {
		return k.chosen.evict(caller, old)
	}
	if k.chosen.alive >= k.chosen.limit {
		return k.chosen.evictAny(old)
	}
	return true
}

// keep stores an answer for which admit has made room.
func (k *keyStore) keep(c command.Caller, key command.Key, at command.Time, waits int64, result command.Result) {
	answer, err := command.Marshal(KeyedAnswer{key.Request, result})
	must(err)
	k.mu.Lock()
	defer k.mu.Unlock()
	ring := k.library
	if key.Chosen {
		ring = k.chosen
	}
	ring.push(keyEntry{idOf(c, key.Text), callerOf(c), at, waits, answer})
}

func (k *keyStore) count() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.library.alive + k.chosen.alive
}
