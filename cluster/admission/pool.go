package admission

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limits of a Pool. Zero means no limit.
type Limits struct {
	Max    int // places in all
	PerKey int // places of one key
	// Grace is how long a place is safe from newcomers whose key holds as many places as any other: so a rush is served
	// in the order in which it came. A key that holds fewer places takes one at once from the key that holds most.
	Grace time.Duration
}

// Full says which limit left no room.
type Full int

// The limits of a Pool.
const (
	Free Full = iota
	FullMax
	FullKey
)

// Pool is a bounded number of places, each held under a key: an address, or the name in a certificate. Safe for
// concurrent use; no method waits.
type Pool struct {
	limits Limits

	mu    sync.Mutex
	byKey map[string][]*Place // oldest first
	held  int
	count uint64 // of places ever given
}

// Place is one place in a Pool. It is held until Leave is called or until it is taken away.
type Place struct {
	pool  *Pool
	key   string
	since time.Time
	count uint64 // a higher one came later
	spoke bool
	evict func(Full)
}

// New makes an empty pool.
func New(l Limits) *Pool { return &Pool{limits: l, byKey: map[string][]*Place{}} }

// Enter takes a place for key. If no place is free it takes one away: from the key itself if that has its full share,
// else from the key that holds most places, and there first from a holder that has not sent anything yet. It calls the
// evict of the place that it takes away. Exempt keys have no limit of their own. If no place may be taken away, the
// place is nil and Full says which limit is reached.
func (p *Pool) Enter(key string, exempt bool, evict func(Full)) (*Place, Full) {
	now := time.Now()
	p.mu.Lock()
	var loser *Place
	full := Free
	switch {
	case !exempt && p.limits.PerKey > 0 && len(p.byKey[key]) >= p.limits.PerKey:
		full = FullKey
		loser = p.oldest(key, now)
	case p.limits.Max > 0 && p.held >= p.limits.Max:
		full = FullMax
		biggest := p.biggest()
		if len(p.byKey[key])+1 < len(p.byKey[biggest]) {
			loser = p.oldest(biggest, now.Add(p.limits.Grace))
		} else if loser = p.oldest(biggest, now); loser == nil {
			loser = p.oldest(key, now)
		}
	}
	if full != Free && loser == nil {
		p.mu.Unlock()
		return nil, full
	}
	if loser != nil {
		p.remove(loser)
	}
	place := p.add(key, now, evict)
	p.mu.Unlock()
	if loser != nil && loser.evict != nil {
		loser.evict(full)
	}
	return place, Free
}

// Take takes a free place for key and never takes one away. If there is none, the place is nil and Full says which
// limit is reached.
func (p *Pool) Take(key string) (*Place, Full) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.limits.PerKey > 0 && len(p.byKey[key]) >= p.limits.PerKey:
		return nil, FullKey
	case p.limits.Max > 0 && p.held >= p.limits.Max:
		return nil, FullMax
	}
	return p.add(key, time.Now(), nil), Free
}

func (p *Pool) add(key string, now time.Time, evict func(Full)) *Place {
	p.count++
	place := &Place{pool: p, key: key, since: now, count: p.count, evict: evict}
	p.byKey[key] = append(p.byKey[key], place)
	p.held++
	return place
}

// oldest returns the place of a key that a newcomer may have: the oldest whose holder has not sent anything, else the
// oldest. It returns nil if all places are within their grace.
func (p *Pool) oldest(key string, now time.Time) *Place {
	places := p.byKey[key]
	if len(places) == 0 || now.Sub(places[0].since) < p.limits.Grace {
		return nil
	}
	for _, x := range places {
		if !x.spoke && now.Sub(x.since) >= p.limits.Grace {
			return x
		}
	}
	return places[0]
}

// biggest returns the key with the most places. Of several such keys it is the one with the oldest place.
func (p *Pool) biggest() string {
	var key string
	var best []*Place
	for k, places := range p.byKey {
		if len(places) > len(best) || len(places) == len(best) && places[0].count < best[0].count {
			key, best = k, places
		}
	}
	return key
}

func (p *Pool) remove(x *Place) {
	places := p.byKey[x.key]
	i := slices.Index(places, x)
	if i < 0 {
		return
	}
	p.held--
	if len(places) == 1 {
		delete(p.byKey, x.key)
		return
	}
	p.byKey[x.key] = slices.Delete(places, i, i+1)
}

// Leave gives the place back. It may be called more than once, after the place was taken away, and on a nil Place.
func (x *Place) Leave() {
	if x == nil {
		return
	}
	x.pool.mu.Lock()
	defer x.pool.mu.Unlock()
	x.pool.remove(x)
}

// Spoke notes that the holder of the place has sent something: silent holders lose their places first.
func (x *Place) Spoke() {
	if x == nil {
		return
	}
	x.pool.mu.Lock()
	defer x.pool.mu.Unlock()
	x.spoke = true
}

// Held returns how many places are taken.
func (p *Pool) Held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

// Address returns an address as limits count it: an IPv4 address by itself, an IPv6 address by its /64, which is what
// one host is given. It returns the zero Prefix if the address is not an IP address.
func Address(a net.Addr) netip.Prefix {
	tcp, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
