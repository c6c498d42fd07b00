package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// Why a peer's certificate is refused.
var (
	ErrNoCertificate  = errors.New("no certificate was presented")
	ErrUnknownCluster = errors.New("the certificate is not of this cluster")
	ErrExpired        = errors.New("the certificate has expired")
	ErrNotYetValid    = errors.New("the certificate is not valid yet")
	ErrWrongUsage     = errors.New("the certificate may not be used for this")
	ErrNotMaster      = errors.New("the certificate is not a master's")
	ErrNotPinned      = errors.New("the master's certificate matches none of the configured thumbprints")
)

// Verify checks a presented chain, leaf first, against the CAs of the moment and
// this cluster's id, and returns who the holder is. That the holder has the key
// was the TLS handshake's task.
func (c *Credentials) Verify(certs []*x509.Certificate, usage x509.ExtKeyUsage) (Identity, error) {
	id, _, err := c.verify(certs, usage)
	return id, err
}

func (c *Credentials) verify(certs []*x509.Certificate, usage x509.ExtKeyUsage) (Identity, [][]*x509.Certificate,
	error) {
	if len(certs) == 0 || certs[0] == nil {
		return Identity{}, nil, ErrNoCertificate
	}
	set, now := c.set.Load(), time.Now()
	leaf := certs[0]
	chains, err := set.chains(certs, usage, now)
	if err != nil {
		return Identity{}, nil, refusal(leaf, now, err)
	}
	id, err := IdentityOf(leaf)
	if err != nil {
		return Identity{}, nil, fmt.Errorf("%w: %w", ErrUnknownCluster, err)
	}
	if id.Cluster != set.identity.Cluster {
		return Identity{}, nil, fmt.Errorf("%w: certificate %s is of cluster %s, this is %s", ErrUnknownCluster,
			fingerprint(leaf), id.Cluster, set.identity.Cluster)
	}
	return id, chains, nil
}

func refusal(leaf *x509.Certificate, now time.Time, err error) error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		switch invalid.Reason {
		case x509.Expired:
			if verr := validAt(leaf, now); verr != nil {
				return fmt.Errorf("certificate %s: %w", fingerprint(leaf), verr)
			}
			return fmt.Errorf("%w: the CA that issued certificate %s", ErrExpired, fingerprint(leaf))
		case x509.IncompatibleUsage:
			return fmt.Errorf("%w: certificate %s (%s)", ErrWrongUsage, fingerprint(leaf), leaf.Subject.CommonName)
		}
	}
	return fmt.Errorf("%w: no CA that is trusted here issued certificate %s (issuer %q)", ErrUnknownCluster,
		fingerprint(leaf), leaf.Issuer.CommonName)
}

// VerifyPeer accepts exactly the certificates of masters of this cluster, on both sides of a connection. The side that
// dialled has named a server.
func (c *Credentials) VerifyPeer(state tls.ConnectionState) error {
	usage := x509.ExtKeyUsageClientAuth
	if len(state.PeerCertificates) > 0 && state.ServerName != "" {
		usage = x509.ExtKeyUsageAny
	}
	id, err := c.Verify(state.PeerCertificates, usage)
	if err != nil {
		return err
	}
	if id.Role != RoleMaster {
		return fmt.Errorf("%w: it is %s", ErrNotMaster, id)
	}
	return nil
}

// Holder names whom a client's connection belongs to: a role and a name. Two roles may have one name.
func (c *Credentials) Holder(state tls.ConnectionState) (string, error) {
	id, err := c.Verify(state.PeerCertificates, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return "", err
	}
	return string(id.Role) + " " + id.Name, nil
}

func (c *Credentials) verifyServer(certs []*x509.Certificate, host string) error {
	id, chains, err := c.verify(certs, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return err
	}
	if id.Role != RoleMaster {
		return fmt.Errorf("%w: it names %s", ErrNotMaster, id)
	}
	if host != "" {
		if err := certs[0].VerifyHostname(host); err != nil {
			return err
		}
	}
	if !c.pins.Match(chains) {
		s1, s256 := Thumbprints(certs[0])
		return fmt.Errorf("%w: it has %s (SHA-1) and %s (SHA-256)", ErrNotPinned, s1, s256)
	}
	return nil
}

// DialTLS returns a function for http.Transport.DialTLSContext and its like: it
// connects as ClientTLS does and compares IP addresses too. dial may be nil.
func (c *Credentials) DialTLS(dial func(ctx context.Context, network, addr string) (net.Conn, error),
	alpn ...string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		raw, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, c.clientTLS(host, alpn))
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		return conn, nil
	}
}
