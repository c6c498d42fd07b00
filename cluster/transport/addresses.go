package transport

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"scaleout/cluster/admission"
)

const (
	lookupEvery = 10 * time.Second // names of masters are looked up anew this often
	lookupTime  = 2 * time.Second
	addressKept = 10 * time.Minute // how long an address counts as a master's after a master was last seen there
	addressMost = 64
)

// addresses are the addresses of masters: those of their hosts, and those from which they have connected.
type addresses struct {
	mu   sync.Mutex
	seen map[netip.Prefix]time.Time
}

// note remembers that a master is at an address.
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
	return ok && time.Since(at) < addressKept
}

// MasterAt reports whether a master is known to be at an address, so that it can be counted apart from strangers.
func (t *Transport) MasterAt(a net.Addr) bool { return t.known.has(admission.Address(a)) }

// follow looks up where masters are, again and again until ctx ends: addresses behind names move.
func (a *addresses) follow(ctx context.Context, masters func() []string) {
	if masters == nil {
		return
	}
	for {
		for _, master := range masters() {
			for _, ip := range lookup(ctx, hostOf(master)) {
				a.note(admission.Address(&net.TCPAddr{IP: ip}))
			}
		}
		if !sleep(ctx, lookupEvery) {
			return
		}
	}
}

// hostOf returns the host of "host" or "host:port".
func hostOf(entry string) string {
	if host, _, err := net.SplitHostPort(entry); err == nil {
		return host
	}
	return strings.Trim(entry, "[]")
}

// lookup returns the addresses of a host now, or none if they are not known in time.
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
