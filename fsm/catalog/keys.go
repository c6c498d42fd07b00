package catalog

import (
	"crypto/sha256"
	"math"
	"sync"
	"time"

	"scaleout/fsm/command"
)

// How long a request key lives at least, in key time, and how many are kept. A key that was chosen by its caller
// protects a day of retries. One that a client library or a forwarding master made protects one call: its lifetime is
// twice the 90 s for which the library begins new tries. At 5,000 calls/s, the most that one certificate may make by
// default, 900,000 such keys are alive; the half of a ring that one caller may fill holds more than that.
const (
	chosenLifetime  = 24 * time.Hour
	libraryLifetime = 3 * time.Minute
	chosenLimit     = 1_000_000
	libraryLimit    = 2_000_000
)

// keyTick is the most by which one stamp moves key time on. An idle leader writes a command a second.
const keyTick = time.Second

// tick takes the stamp of a command. State time follows the stamps forward. Key time, in which request keys age, adds
// up the differences between them and no difference beyond keyTick: when leaders with different clocks take turns, or
// a clock is set, state time jumps by minutes, and a retry that is under way would find its key forgotten. For the same
// reason no key ages while nobody leads. A stamp before the last one moves neither, and key time goes on from there.
func (m *meta) tick(stamp command.Time) {
	m.KeyTime += min(max(stamp-m.Stamp, 0), command.Time(keyTick))
	m.Stamp = stamp
	m.Time = max(m.Time, stamp)
}

// keyStore keeps the answers to keyed commands. It stands outside go-memdb: millions of short-lived rows would cost a
// kilobyte each. The state's goroutine writes; lookups come from anywhere.
type keyStore struct {
	mu      sync.RWMutex
	library *ring
	chosen  *ring
}

func newKeyStore() *keyStore { return newKeyStoreOf(libraryLimit, chosenLimit) }

func newKeyStoreOf(library, chosen int) *keyStore {
	return &keyStore{library: newRing(library, libraryLifetime), chosen: newRing(chosen, chosenLifetime)}
}

func (k *keyStore) ring(chosen bool) *ring {
	if chosen {
		return k.chosen
	}
	return k.library
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
	Caller string       `cbor:"2,keyasint"`           // kind and name
	At     command.Time `cbor:"3,keyasint"`           // key time from which its lifetime counts
	Waits  int64        `cbor:"4,keyasint,omitempty"` // execution whose end its call waits for
	Answer []byte       `cbor:"5,keyasint"`           // a KeyedAnswer
	Index  uint64       `cbor:"-"`                    // of the log entry that made it; whoever reads an older state does not see it
}

func callerOf(c command.Caller) string { return c.Kind + ":" + c.Name }

// newest as an index shows the keys of the entry that is being applied too.
const newest = math.MaxUint64

// lookup finds a living key in either ring, as of the log entry at index.
func (k *keyStore) lookup(now command.Time, index uint64, c command.Caller, key string) (KeyedAnswer, bool) {
	id := idOf(c, key)
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, r := range []*ring{k.chosen, k.library} {
		e := r.find(id)
		if e == nil || e.Index > index || r.dead(e, now) {
			continue
		}
		var a KeyedAnswer
		must(command.Unmarshal(e.Answer, &a))
		return a, true
	}
	return KeyedAnswer{}, false
}

// admit takes out dead keys and says why there is no room for another one of the caller; nil means that there is. It is
// called before the command is applied: a command that is refused has done nothing. A living key never makes room.
func (k *keyStore) admit(r *Reader, c command.Caller, chosen bool) *command.Rejection {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.library.expire(r)
	k.chosen.expire(r)
	ring, caller := k.ring(chosen), callerOf(c)
	for {
		var no *command.Rejection
		switch {
		case ring.count() >= ring.limit:
			no = command.Refuse(command.CodeTooManyKeys, ring.count(), ring.lifetime)
		case ring.held(caller) >= ring.share():
			no = command.Refuse(command.CodeTooManyCallerKeys, ring.held(caller), c.Name, ring.lifetime)
		}
		// Keys that died while nobody sent any may still be there; they must not cost a call.
		if no == nil || !ring.expire(r) {
			return no
		}
	}
}

// keep stores an answer for which admit has found room.
func (k *keyStore) keep(r *Reader, index uint64, c command.Caller, key command.Key, waits int64,
	result command.Result) {
	a := KeyedAnswer{key.Request, result}
	must(answerFields.Check(a, r.meta.Level))
	answer, err := command.Marshal(a)
	must(err)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ring(key.Chosen).push(keyEntry{idOf(c, key.Text), callerOf(c), r.meta.KeyTime, waits, answer, index})
}

func (k *keyStore) count() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.library.count() + k.chosen.count()
}
