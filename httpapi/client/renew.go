package client

import (
	"net/http"
	"sync"
)

// Renewing is a transport for certificates that change while it is in use. A connection shows the certificate that it
// was made with for as long as it lives, and the masters judge that at each call: so calls that begin after a change go
// over new connections, and old ones are closed as soon as they are idle. Safe for concurrent use.
type Renewing struct {
	changed func() <-chan struct{}
	fresh   func() *http.Transport

	mu      sync.Mutex
	sign    <-chan struct{} // closed when current is of yesterday
	current *http.Transport
}

// NewRenewing makes a transport anew with each change. The channel that changed returns is closed at the next change.
func NewRenewing(changed func() <-chan struct{}, fresh func() *http.Transport) *Renewing {
	return &Renewing{changed: changed, fresh: fresh}
}

// RoundTrip implements http.RoundTripper.
func (r *Renewing) RoundTrip(req *http.Request) (*http.Response, error) {
	return r.now().RoundTrip(req)
}

func (r *Renewing) now() *http.Transport {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil {
		select {
		case <-r.sign:
			// It is asked for no further connection, so those in use close themselves when they become idle.
			r.current.CloseIdleConnections()
		default:
			return r.current
		}
	}
	// Asked before the new one is made: a change in between is seen at the next call.
	r.sign = r.changed()
	r.current = r.fresh()
	return r.current
}

// CloseIdleConnections closes connections that no call uses.
func (r *Renewing) CloseIdleConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil {
		r.current.CloseIdleConnections()
	}
}
