package pki

import (
	"crypto/fips140"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
)

// Thumbprints are the SHA-1 and the SHA-256 of a certificate, upper-case hex
// without separators: what certificate dialogs and MasterSettings.config show.
func Thumbprints(cert *x509.Certificate) (sha1Hex, sha256Hex string) {
	var s1 [sha1.Size]byte
	// A name by which people know a certificate; no trust rests on it alone, the chain is verified beside.
	fips140.WithoutEnforcement(func() { s1 = sha1.Sum(cert.Raw) })
	s256 := sha256.Sum256(cert.Raw)
	return strings.ToUpper(hex.EncodeToString(s1[:])), strings.ToUpper(hex.EncodeToString(s256[:]))
}

// MatchThumbprint reports whether want is the SHA-1 or SHA-256 thumbprint of
// cert. Case, spaces, colons, dashes and the invisible mark that Windows dialogs
// put before a copied thumbprint do not count. An empty want matches nothing.
func MatchThumbprint(want string, cert *x509.Certificate) bool {
	norm := normalizeThumbprint(want)
	if norm == "" || cert == nil {
		return false
	}
	s1, s256 := Thumbprints(cert)
	return norm == s1 || norm == s256
}

// Pins is a list of thumbprints of which a master must match one.
type Pins []string

// ParsePins reads MasterHttpsCertThumbprint: thumbprints of leaf or CA
// certificates, separated by commas. An empty list pins nothing.
func ParsePins(list string) (Pins, error) {
	var pins Pins
	for item := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		norm := normalizeThumbprint(item)
		if err := checkThumbprint(item, norm); err != nil {
			return nil, err
		}
		pins = append(pins, norm)
	}
	return pins, nil
}

// Match reports whether one certificate of one chain is pinned. Without pins
// everything matches.
func (p Pins) Match(chains [][]*x509.Certificate) bool {
	if len(p) == 0 {
		return true
	}
	for _, chain := range chains {
		for _, cert := range chain {
			for _, pin := range p {
				if MatchThumbprint(pin, cert) {
					return true
				}
			}
		}
	}
	return false
}

func checkThumbprint(given, norm string) error {
	if _, err := hex.DecodeString(norm); err != nil || (len(norm) != 40 && len(norm) != 64) {
		return fmt.Errorf("%q is not a thumbprint: want 40 (SHA-1) or 64 (SHA-256) hex digits", strings.TrimSpace(given))
	}
	return nil
}

func normalizeThumbprint(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n', ':', '-', '\u200e', '\u200f', '\ufeff', '\u00a0':
			return -1
		}
		return r
	}, strings.ToUpper(s))
}

func fingerprint(cert *x509.Certificate) string {
	_, s256 := Thumbprints(cert)
	return s256
}
