package transport

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"scaleout/cluster/admission"
)

const (
	lookupEvery = 10 * time.Second // names of masters are looked up anew this often
	lookupTime  = 2 * time.Second
	addressLife = 10 * time.Minute // how long an address counts as a master's after one was last seen there
	addressMost = 64
)

// addresses are those at which masters are: where their hosts are known to be, and from where they have connected.
type addresses struct {
	mu   sync.Mutex
	seen map[netip.Prefix]time.Time
}

// note remembers that a master is there.
func (a *addresses) note(p netip.Prefix) {
	if !p.IsValid() {
		return
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil {
		a.seen = map[netip.Prefix]time.Time{}
	}
	if _, ok := a.seen[p]; !ok && len(a.seen) >= addressMost {
		var oldest netip.Prefix
		for q, at := range a.seen {
			if !oldest.IsValid() || at.Before(a.seen[oldest]) {
				oldest = q
			}
		}
		delete(a.seen, oldest)
	}
	a.seen[p] = now
}

func (a *addresses) has(p netip.Prefix) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.seen[p]
	return ok && time.Since(at) < addressLife
}

// MasterAt reports whether a master is known to be at an address: it may be counted apart from strangers.
func (t *Transport) MasterAt(a net.Addr) bool { return t.known.has(admission.Address(a)) }

// follow looks up where masters are, again and again until ctx ends: addresses behind names move.
func (a *addresses) follow(ctx context.Context, hosts func() []string) {
	if hosts == nil {
		return
	}
	for {
		for _, host := range hosts() {
			for _, ip := range lookup(ctx, host) {
				a.note(admission.Address(&net.TCPAddr{IP: ip}))
			}
		}
		if !sleep(ctx, lookupEvery) {
			return
		}
	}
}

// lookup is what a host's name stands for now, nothing when that is not known in time.
func lookup(ctx context.Context, host string) []net.IP {
	if ip := net.ParseIP(host); ip != nil {
		return []net.IP{ip}
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	return ips
}
