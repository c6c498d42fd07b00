package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"scaleout/store/file"
)

// DefaultLifetime of a leaf when a Request names none.
const DefaultLifetime = 365 * 24 * time.Hour

// Names of the files that Issued.WriteFiles makes.
const (
	FileCert = "cert.pem"
	FileKey  = "key.pem"
)

// ErrCAExpired means that the authority's newest CA cannot sign any more.
var ErrCAExpired = errors.New("the certificate authority has expired")

// ErrOtherIdentity means that a folder holds another identity's certificate.
var ErrOtherIdentity = errors.New("the folder belongs to somebody else")

// Request is what a certificate shall say.
type Request struct {
	Role Role
	Name string
	// Hosts are the DNS names and IP addresses at which a server is reached. A
	// master needs one; if there is none, its name must be one. A name that is
	// a host name is always added.
	Hosts []string
	// Roles are database roles (see UserRoles); users only.
	Roles []string
	// Lifetime is DefaultLifetime when zero and is cut at the CA's own end.
	Lifetime time.Duration
}

// Issued is a new certificate with its private key and what its holder needs
// beside it.
type Issued struct {
	Identity Identity
	Leaf     *x509.Certificate

	certPEM, keyPEM, caPEM []byte
	gossip                 []byte
	ring                   *KeyRing
}

// String hides the private key.
func (i *Issued) String() string { return "certificate of " + i.Identity.String() }

// GoString hides the private key from %#v.
func (i *Issued) GoString() string { return i.String() }

// Issue signs a certificate with the newest CA: ECDSA P-256, for TLS 1.3.
func (a *Authority) Issue(req Request, now time.Time) (*Issued, error) {
	id := Identity{Cluster: a.cluster.Cluster, Role: req.Role, Name: req.Name, Roles: normalizeRoles(req.Roles)}
	if err := id.check(); err != nil {
		return nil, err
	}
	lifetime := req.Lifetime
	if lifetime == 0 {
		lifetime = DefaultLifetime
	}
	if lifetime < 0 {
		return nil, fmt.Errorf("lifetime %s is negative", lifetime)
	}
	if !now.Before(a.signer.NotAfter) {
		return nil, fmt.Errorf("%w on %s; `scaleout ca rotate` makes a new one", ErrCAExpired,
			a.signer.NotAfter.UTC().Format(time.RFC3339))
	}
	template, err := leafTemplate(id, req.Hosts)
	if err != nil {
		return nil, err
	}
	template.NotBefore = now.Add(-backdate)
	template.NotAfter = earlier(now.Add(lifetime), a.signer.NotAfter)

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf, err := sign(template, a.signer, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	issued := &Issued{
		Identity: id,
		Leaf:     leaf,
		certPEM:  encodeCertificates(append([]*x509.Certificate{leaf}, a.cross...)),
		caPEM:    encodeCertificates(a.roots),
	}
	if issued.keyPEM, err = encodeKey(key); err != nil {
		return nil, err
	}
	if req.Role == RoleMaster {
		issued.gossip, issued.ring = a.gossip, a.ring
	}
	return issued, nil
}

// WriteFiles puts cert.pem, key.pem (0600) and ca.pem, and for a master gossip.key and keyring.json (0600), into
// folder, which is made if need be. Files that are there are replaced one by one, each atomically: a running node that
// watches them takes the set up when it is complete. A folder that holds the certificate of somebody else is refused
// with ErrOtherIdentity: its holder would be somebody else from one moment to the next.
func (i *Issued) WriteFiles(folder string) error {
	if err := i.mayReplace(folder); err != nil {
		return err
	}
	if err := file.MakeDir(folder); err != nil {
		return err
	}
	type content struct {
		name string
		data []byte
		mode os.FileMode
	}
	files := []content{
		{FileCA, i.caPEM, publicMode},
		{FileKey, i.keyPEM, privateKeyMode},
		{FileCert, i.certPEM, publicMode},
	}
	if i.ring != nil {
		ring, err := i.ring.MarshalJSON()
		if err != nil {
			return err
		}
		files = append(files, content{FileGossipKey, i.gossip, privateKeyMode}, content{FileKeyRing, ring, privateKeyMode})
	}
	for _, f := range files {
		if err := writeFile(filepath.Join(folder, f.name), f.data, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// mayReplace looks at who the folder belongs to. The key is written before the certificate, so one without the other is
// left by a write that was broken off.
func (i *Issued) mayReplace(folder string) error {
	if _, err := os.Stat(filepath.Join(folder, FileCAKey)); err == nil {
		return fmt.Errorf("%s is the directory of the certificate authority itself: choose another folder", folder)
	}
	path := filepath.Join(folder, FileCert)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	certs, err := parseCertificates(raw)
	if err != nil {
		return fmt.Errorf("%w: %s cannot be read (%w); choose another folder, or remove it", ErrOtherIdentity, path, err)
	}
	has, err := IdentityOf(certs[0])
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s is no certificate of a cluster (%w); choose another folder, or remove it", ErrOtherIdentity,
			path, err)
	case has.Cluster != i.Identity.Cluster:
		return fmt.Errorf("%w: %s is of %s of another cluster (%s); choose another folder, or remove it", ErrOtherIdentity,
			path, has, has.Cluster)
	case has.Role != i.Identity.Role || has.Name != i.Identity.Name:
		return fmt.Errorf("%w: %s is of %s, this one is for %s; choose another folder, or remove it", ErrOtherIdentity, path,
			has, i.Identity)
	}
	return nil
}

func leafTemplate(id Identity, hosts []string) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject: pkix.Name{CommonName: commonName(id.Name), Organization: []string{"Scale Out " + id.Cluster},
			OrganizationalUnit: []string{string(id.Role)}},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{id.uri()},
		// Not a CA, said explicitly: nothing that it signs is ever accepted.
		BasicConstraintsValid: true,
	}
	if id.Role == RoleMaster {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range hosts {
		if ip := net.ParseIP(strings.Trim(h, "[]")); ip != nil {
			if !slices.ContainsFunc(template.IPAddresses, ip.Equal) {
				template.IPAddresses = append(template.IPAddresses, ip)
			}
			continue
		}
		if !isHostName(strings.TrimPrefix(h, "*.")) {
			return nil, fmt.Errorf("host %q is neither an IP address nor a host name (no port, no https://)", h)
		}
		if !slices.Contains(template.DNSNames, h) {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	if isHostName(id.Name) && !slices.Contains(template.DNSNames, id.Name) && net.ParseIP(id.Name) == nil {
		template.DNSNames = append(template.DNSNames, id.Name)
	}
	if id.Role == RoleMaster && len(template.DNSNames)+len(template.IPAddresses) == 0 {
		return nil, fmt.Errorf("master %q needs a host: the name or address at which workers and other masters reach it",
			id.Name)
	}
	return template, nil
}

// X.509 allows a common name 64 characters; the identity has the whole name.
func commonName(name string) string {
	if r := []rune(name); len(r) > 64 {
		return string(r[:64])
	}
	return name
}

func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
