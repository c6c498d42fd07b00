package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// fileSet is one consistent reading of a node's files. It never changes.
type fileSet struct {
	stamps   stamps
	cert     tls.Certificate
	identity Identity
	roots    []*x509.Certificate
	pool     *x509.CertPool
}

type stamps [3]stamp

type stamp struct {
	mtime time.Time
	size  int64
}

func stampsOf(f Files) (s stamps) {
	for i, path := range []string{f.CA, f.Cert, f.Key} {
		if info, err := os.Stat(path); err == nil {
			s[i] = stamp{mtime: info.ModTime(), size: info.Size()}
		}
	}
	return s
}

func (s *fileSet) same(other *fileSet) bool {
	return slices.EqualFunc(s.cert.Certificate, other.cert.Certificate, bytes.Equal) &&
		slices.EqualFunc(s.roots, other.roots, (*x509.Certificate).Equal)
}

// loadSet reads the files and checks them as a peer would, so that a mistake is
// found here, with its reason, and not as a failed handshake elsewhere.
func loadSet(f Files, thumbprint string, now time.Time) (*fileSet, error) {
	// Before reading: a change in between must look like one at the next poll.
	set := &fileSet{stamps: stampsOf(f)}

	caData, err := readNamed("CACertFile", f.CA)
	if err != nil {
		return nil, err
	}
	certData, err := readNamed("CertFile", f.Cert)
	if err != nil {
		return nil, err
	}
	keyData, err := readNamed("KeyFile", f.Key)
	if err != nil {
		return nil, err
	}
	if set.roots, err = parseCertificates(caData); err != nil {
		return nil, fmt.Errorf("%w: CACertFile %s: %w", ErrBadCredentials, f.CA, err)
	}
	chain, err := parseCertificates(certData)
	if err != nil {
		return nil, fmt.Errorf("%w: CertFile %s: %w", ErrBadCredentials, f.Cert, err)
	}
	if set.cert, err = tls.X509KeyPair(certData, keyData); err != nil {
		return nil, fmt.Errorf("%w: the key in %s does not belong to the certificate in %s: %w", ErrBadCredentials, f.Key,
			f.Cert, err)
	}
	set.cert.Leaf = chain[0]
	set.pool = x509.NewCertPool()
	for _, root := range set.roots {
		set.pool.AddCert(root)
	}
	if err := set.check(f, chain, thumbprint, now); err != nil {
		return nil, err
	}
	return set, nil
}

func (s *fileSet) check(f Files, chain []*x509.Certificate, thumbprint string, now time.Time) (err error) {
	leaf := chain[0]
	if s.identity, err = IdentityOf(leaf); err != nil {
		return fmt.Errorf("%w: CertFile %s: %w", ErrBadCredentials, f.Cert, err)
	}
	if err := validAt(leaf, now); err != nil {
		return fmt.Errorf("%w: CertFile %s: %w", ErrBadCredentials, f.Cert, err)
	}
	if _, err := s.chains(chain, x509.ExtKeyUsageClientAuth, now); err != nil {
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) {
			return fmt.Errorf("%w: CertFile %s was not issued by a CA in CACertFile %s (issuer %q)", ErrBadCredentials, f.Cert,
				f.CA, leaf.Issuer.CommonName)
		}
		return fmt.Errorf("%w: CertFile %s with CACertFile %s: %w", ErrBadCredentials, f.Cert, f.CA, err)
	}
	if thumbprint != "" && !MatchThumbprint(thumbprint, leaf) {
		s1, s256 := Thumbprints(leaf)
		return fmt.Errorf("%w: SSLCertThumbprint is %s, CertFile %s has %s (SHA-1) and %s (SHA-256)", ErrThumbprintMismatch,
			normalizeThumbprint(thumbprint), f.Cert, s1, s256)
	}
	return nil
}

func (s *fileSet) chains(certs []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) ([][]*x509.Certificate,
	error) {
	intermediates := x509.NewCertPool()
	for _, c := range certs[1:] {
		intermediates.AddCert(c)
	}
	return certs[0].Verify(x509.VerifyOptions{
		Roots:         s.pool,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
}

func validAt(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("%w: it was valid until %s, the time here is %s", ErrExpired,
			cert.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("%w: it is valid from %s, the time here is %s", ErrNotYetValid,
			cert.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

func readNamed(setting, path string) ([]byte, error) {
	if path == "" {
		return nil, fmt.Errorf("%w: %s is not set", ErrBadCredentials, setting)
	}
	data, err := readFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s %s does not exist; `scaleout ca issue` makes it: %w", ErrBadCredentials, setting, path,
			err)
	} else if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBadCredentials, setting, err)
	}
	return data, nil
}
