package httpapi

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/service"
)

// Limits bound what one caller may use of this master, and how much memory all bodies together may use. A caller is the
// kind and the name of a certificate, however many connections it has. A call that one master forwards to another
// counts at both, under the caller that the first one verified. A request without a certificate counts for its address.
// Zero fields get the defaults.
type Limits struct {
	CallsInFlight   int   // MaxCallsInFlight: held polls count
	CallsPerSecond  int   // MaxCallsPerSecond: twice as many may come at once
	EventStreams    int   // MaxEventStreams
	BodyBytes       int64 // MaxBodyMemoryBytes: of all callers
	CallerBodyBytes int64 // MaxBodyMemoryBytesPerCaller
}

// The defaults of Limits.
const (
	DefaultCallsInFlight   = 256
	DefaultCallsPerSecond  = 5000
	DefaultEventStreams    = 8
	DefaultBodyBytes       = 64 << 20
	DefaultCallerBodyBytes = 32 << 20
)

// Filled returns l with the defaults in place of zero fields.
func (l Limits) Filled() Limits {
	set := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	set(&l.CallsInFlight, DefaultCallsInFlight)
	set(&l.CallsPerSecond, DefaultCallsPerSecond)
	set(&l.EventStreams, DefaultEventStreams)
	if l.BodyBytes <= 0 {
		l.BodyBytes = DefaultBodyBytes
	}
	if l.CallerBodyBytes <= 0 {
		l.CallerBodyBytes = min(DefaultCallerBodyBytes, l.BodyBytes)
	}
	return l
}

const (
	// smallBodyBytes is the size up to which a body may use the quarter of the memory that large ones leave free.
	smallBodyBytes = 64 << 10
	// limitRetry is how long a caller is told to wait for calls and bodies of its own to end.
	limitRetry = time.Second
	// streamRetry is longer, since an event stream lasts for as long as somebody reads it.
	streamRetry = 10 * time.Second
	// refusalsPerSecond is how many refusals a caller is given without delay; further ones are held back, each
	// longestRefusal at most.
	refusalsPerSecond = 20
	longestRefusal    = 5 * time.Second
	// strangersPerSecond is how many calls an address without a certificate may make: enough for load balancers that ask
	// whether a master is ready, and so few that many addresses together leave the processors to others.
	strangersPerSecond = 50
	// strangersAccount begins the names of their accounts.
	strangersAccount = "address "
	// accountsSwept is how many accounts are kept before the idle ones are looked for.
	accountsSwept = 1024
)

// quotas counts what each caller uses of this master at the moment. It is safe for concurrent use.
type quotas struct {
	limits Limits

	mu       sync.Mutex
	accounts map[string]*account
	sweepAt  int
	bodies   int64
}

type account struct {
	calls, streams int
	bodies         int64
	rate           *rate.Limiter
	refusals       *rate.Limiter
	turns          service.Turns
}

func newQuotas(l Limits) *quotas {
	return &quotas{limits: l.Filled(), accounts: map[string]*account{}, sweepAt: accountsSwept}
}

// accountOf returns the name of the account that a request counts for, and "" for the masters, which have no limits.
func accountOf(c command.Caller, remote string) string {
	switch {
	case c.Kind == "master":
		return ""
	case c.Name != "":
		return c.Kind + " " + sqltype.Fold(c.Name)
	}
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	// An IPv6 address counts by its /64, which one host can have the whole of.
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && !ip.Is4In6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			host = p.String()
		}
	}
	return strangersAccount + host
}

// account finds or makes an account. The lock is held.
func (q *quotas) account(who string) *account {
	a := q.accounts[who]
	if a != nil {
		return a
	}
	if len(q.accounts) >= q.sweepAt {
		now := time.Now()
		for name, a := range q.accounts {
			if a.calls == 0 && full(a.rate, now) && full(a.refusals, now) {
				delete(q.accounts, name)
			}
		}
		q.sweepAt = max(accountsSwept, 2*len(q.accounts))
	}
	perSecond := q.limits.CallsPerSecond
	if strings.HasPrefix(who, strangersAccount) {
		perSecond = min(perSecond, strangersPerSecond)
	}
	a = &account{
		rate:     rate.NewLimiter(rate.Limit(perSecond), 2*perSecond),
		refusals: rate.NewLimiter(refusalsPerSecond, refusalsPerSecond), turns: service.NewTurns(),
	}
	q.accounts[who] = a
	return a
}

func full(l *rate.Limiter, now time.Time) bool { return l.TokensAt(now) >= float64(l.Burst()) }

// turn makes the turn of a call, which waits for nothing yet. It is nil for the masters.
func (q *quotas) turn(who string) *service.Turn {
	if who == "" {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.account(who).turns.Turn()
}

// refuse counts a refusal and returns for how long it is to be delayed.
func (q *quotas) refuse(who string) time.Duration {
	if who == "" {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.account(who).refusals.Reserve()
	wait := r.Delay()
	if wait > longestRefusal {
		r.Cancel()
		wait = longestRefusal
	}
	return wait
}

// call takes the place of one call. The account is kept until release, so everything else that the call takes has to be
// given back before.
func (q *quotas) call(who string) (release func(), err error) {
	if who == "" {
		return func() {}, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.account(who)
	switch {
	case a.calls >= q.limits.CallsInFlight:
		return nil, &service.LimitReached{Limit: "MaxCallsInFlight", Retry: limitRetry, Detail: fmt.Sprintf(
			"%s has %d calls under way at this master, which is the most for one caller: wait until some are answered",
			who, a.calls)}
	case !a.rate.Allow():
		return nil, &service.LimitReached{Limit: "MaxCallsPerSecond", Retry: limitRetry, Detail: fmt.Sprintf(
			"%s sends more than the %d calls per second that one caller may: send fewer, or more in one call",
			who, int(a.rate.Limit()))}
	}
	a.calls++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		a.calls--
	}, nil
}

// stream takes a place for an event stream within a call.
func (q *quotas) stream(who string) (release func(), err error) {
	if who == "" {
		return func() {}, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.account(who)
	if a.streams >= q.limits.EventStreams {
		return nil, &service.LimitReached{Limit: "MaxEventStreams", Retry: streamRetry, Detail: fmt.Sprintf(
			"%s reads %d event streams of this master, which is the most for one caller: let several readers share a stream",
			who, a.streams)}
	}
	a.streams++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		a.streams--
	}, nil
}

// body takes memory for a body of n bytes within a call, before anything of it is read. A quarter of the memory is for
// small bodies alone, so that calls without files pass while large ones wait.
func (q *quotas) body(who string, n int64) (release func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	most := q.limits.BodyBytes
	if n > smallBodyBytes {
		most -= most / 4
	}
	if q.bodies+n > most {
		return nil, &service.LimitReached{Limit: "MaxBodyMemoryBytes", Retry: limitRetry, Detail: fmt.Sprintf(
			"this master holds %d bytes of requests in memory and %d more would be beyond the %d that it gives to bodies "+
				"of this size: try again", q.bodies, n, most)}
	}
	var a *account
	if who != "" {
		a = q.account(who)
		if a.bodies+n > q.limits.CallerBodyBytes {
			return nil, &service.LimitReached{Limit: "MaxBodyMemoryBytesPerCaller", Retry: limitRetry, Detail: fmt.Sprintf(
				"%s has %d bytes of requests in this master's memory and %d more would be beyond the %d of one caller: "+
					"wait until its other calls are answered", who, a.bodies, n, q.limits.CallerBodyBytes)}
		}
		a.bodies += n
	}
	q.bodies += n
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.bodies -= n
		if a != nil {
			a.bodies -= n
		}
	}, nil
}
