package client

import (
	"net/http"
	"sync"
)

// Renewing is a transport for certificates that change while it is in use. A connection keeps the certificate that it
// was made with, and the masters check that certificate at each call. So calls that begin after a change use new
// connections, and the old ones are closed as soon as they are idle. It is safe for concurrent use.
type Renewing struct {
	changed      func() <-chan struct{}
	newTransport func() *http.Transport

	mu       sync.Mutex
	outdated <-chan struct{} // closed when the certificates of current have changed
	current  *http.Transport
}

// NewRenewing returns a transport that calls newTransport after each change. The function changed returns a channel
// that is closed at the next change.
func NewRenewing(changed func() <-chan struct{}, newTransport func() *http.Transport) *Renewing {
	return &Renewing{changed: changed, newTransport: newTransport}
}

// RoundTrip implements http.RoundTripper.
func (r *Renewing) RoundTrip(req *http.Request) (*http.Response, error) {
	return r.transport().RoundTrip(req)
}

// transport returns a transport with the present certificates.
func (r *Renewing) transport() *http.Transport {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil {
		select {
		case <-r.outdated:
			// No call asks this transport for a connection any more. Its busy connections close when they become idle.
			r.current.CloseIdleConnections()
		default:
			return r.current
		}
	}
	// changed is called first, so that the next call notices a change that happens while the new transport is made.
	r.outdated = r.changed()
	r.current = r.newTransport()
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
