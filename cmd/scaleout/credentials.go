package main

import (
	"crypto/tls"
	"net/http"
	"sync"
	"time"

	"scaleout/cluster/pki"
	"scaleout/httpapi/client"
)

// freshCredentials is the age from which the certificate files are read again before a call.
const freshCredentials = 5 * time.Second

// reloading reads the certificate files again before a call: a wait for a long package may outlast the certificate that
// it began with. It does so without a goroutine, since most commands end within a second.
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
		// If the files are gone or half replaced, the certificate in use stays.
		_ = r.creds.Reload(req.Context())
	}
	r.mu.Unlock()
	return r.next.RoundTrip(req)
}

// CloseIdleConnections closes connections that no call uses.
func (r *reloading) CloseIdleConnections() { r.next.CloseIdleConnections() }
