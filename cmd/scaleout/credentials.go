package main

import (
	"crypto/tls"
	"net/http"
	"sync"
	"time"

	"scaleout/cluster/pki"
	"scaleout/httpapi/client"
)

// freshCredentials is how old a look at the certificate files may be when a call begins.
const freshCredentials = 5 * time.Second

// reloading looks at the certificate files before a call: a wait for a long package may outlast the certificate that it
// began with. It needs no goroutine, which a command line that lives for a moment would have no use for.
type reloading struct {
	creds *pki.Credentials
	next  *client.Renewing

	mu     sync.Mutex
	looked time.Time
}

func newReloading(creds *pki.Credentials) *reloading {
	return &reloading{creds: creds, looked: time.Now(), next: client.NewRenewing(creds.Changed, func() *http.Transport {
		t := client.NewTransport(&tls.Config{MinVersion: tls.VersionTLS13})
		t.DialTLSContext = creds.DialTLS(nil, "http/1.1")
		return t
	})}
}

// RoundTrip implements http.RoundTripper.
func (r *reloading) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	if time.Since(r.looked) > freshCredentials {
		r.looked = time.Now()
		// Files that are just being replaced, or gone: the ones in use stay.
		_ = r.creds.Reload()
	}
	r.mu.Unlock()
	return r.next.RoundTrip(req)
}

// CloseIdleConnections closes connections that no call uses.
func (r *reloading) CloseIdleConnections() { r.next.CloseIdleConnections() }
