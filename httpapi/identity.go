package httpapi

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"scaleout/fsm/command"
	"scaleout/httpapi/forward"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
)

// identities remembers for identityLifetime whose certificate a connection has, so that a worker's polls do not each
// verify the same chain. A certificate that is not trusted any more is refused that much later.
type identities struct {
	identify func([]*x509.Certificate) (command.Caller, error)

	mu    sync.Mutex
	known map[*x509.Certificate]identity
}

type identity struct {
	caller command.Caller
	until  time.Time
}

const (
	identityLifetime = 5 * time.Second
	identityMost     = 4096
)

func newIdentities(f func([]*x509.Certificate) (command.Caller, error)) *identities {
	return &identities{identify: f, known: make(map[*x509.Certificate]identity)}
}

func (s *identities) caller(chain []*x509.Certificate) (command.Caller, error) {
	if len(chain) == 0 {
		return command.Caller{}, ErrCertificateRequired
	}
	// All requests of one connection have the same parsed leaf.
	now := time.Now()
	s.mu.Lock()
	got, ok := s.known[chain[0]]
	s.mu.Unlock()
	if ok && now.Before(got.until) {
		return got.caller, nil
	}
	caller, err := s.identify(chain)
	if err != nil {
		if !errors.Is(err, ErrCertificateRequired) && !errors.Is(err, ErrUnknownCluster) {
			err = fmt.Errorf("%w: %w", errInvalidCertificate, err)
		}
		return command.Caller{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= identityMost {
		clear(s.known)
	}
	s.known[chain[0]] = identity{caller, now.Add(identityLifetime)}
	return caller, nil
}

// identify finds out who sends a request. On a connection that another master authenticated, that is whom the
// forwarding headers name. On any other connection it is the holder of the certificate, and the forwarding headers are
// removed before anything can read them.
func (a *API) identify(r *request) error {
	node, peer := a.cfg.Peer(r.Request)
	if !peer {
		forward.Strip(r.Header)
		var chain []*x509.Certificate
		if r.TLS != nil {
			chain = r.TLS.PeerCertificates
		}
		var err error
		r.caller, err = a.who.caller(chain)
		return err
	}
	r.hop = r.Header.Get(wire.HeaderHop)
	if r.hop == "" {
		// The master does not forward: the call is its own.
		r.caller = command.Caller{Kind: "master", Name: node}
		return nil
	}
	c, err := wire.DecodeCaller(r.Header.Get(wire.HeaderCaller))
	if err != nil {
		return fmt.Errorf("%w: from %s: %w", errBadHop, node, err)
	}
	r.caller = command.Caller{Kind: c.Kind, Name: c.Name, Roles: c.Roles}
	if id := r.Header.Get(wire.HeaderHopRequestID); id != "" {
		r.id = id
	}
	return nil
}

// access says who may use a route.
type access struct {
	open  bool               // no certificate needed
	kinds []string           // kinds of certificate; none: any
	may   command.Permission // what users must be able to do beside; none: nothing
}

var (
	anybody        = access{open: true}
	anyCertificate = access{}
	users          = access{kinds: []string{"user"}}
	workers        = access{kinds: []string{"worker"}}
	// A blob holds what views show to some alone: all of a project, or messages of several executions. Its digest is no
	// secret, since errors name it.
	blobReaders = access{kinds: []string{"worker", "user", "master"}, may: command.MayOperate}
	blobWriters = access{kinds: []string{"user", "master"}, may: command.MayDeploy}
	monitors    = access{kinds: []string{"user"}, may: command.MayWatch}
	admins      = access{kinds: []string{"user"}, may: command.MayOperate}
)

// admit refuses a caller who may not use the route.
func (a *API) admit(rt *route, c command.Caller) error {
	w := rt.who
	if w.open || len(w.kinds) == 0 {
		return nil
	}
	if !slices.Contains(w.kinds, c.Kind) {
		return fmt.Errorf("%w: this is for certificates of kind %s; that of %q is a %s's",
			errForbidden, strings.Join(w.kinds, " or "), c.Name, c.Kind)
	}
	if c.Kind != "user" || w.may == nil {
		return nil
	}
	return a.service.Authorize(c, w.may, rt.method+" "+rt.path)
}

// request is one request on its way through the API.
type request struct {
	*http.Request
	route    *route
	id       string
	caller   command.Caller
	hop      string // name of the master that forwarded it; "" for none
	received time.Time
	elapsed  time.Duration // for how long other masters had it before
	limit    int64         // of the body: the route's, or less
	body     []byte
	account  string            // whose places it takes
	called   service.Procedure // of a procedure's route
	w        *progress
}
