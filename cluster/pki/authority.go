package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"scaleout/store/file"
)

// Names of the files of an authority's directory.
const (
	FileCA        = "ca.pem"
	FileCAKey     = "ca-key.pem"
	FileCluster   = "cluster.json"
	FileGossipKey = "gossip.key"
	FileKeyRing   = "keyring.json"
	FileCross     = "cross.pem"
)

const (
	caLifetime = 10 * 365 * 24 * time.Hour
	// A certificate is valid from a little before it was made, so that a host
	// whose clock is behind does not refuse it.
	backdate       = time.Hour
	clusterFormat  = 1
	privateKeyMode = 0o600
	publicMode     = 0o644
)

// Errors of an authority's directory.
var (
	ErrAuthorityExists = errors.New("the directory already holds a certificate authority")
	ErrNoAuthority     = errors.New("the directory holds no certificate authority")
	ErrLastCA          = errors.New("the only certificate authority cannot be retired")
)

// Authority is a CA directory: the CAs of a cluster (newest first), the private
// key of the newest, the cluster's id, its gossip key and its key ring. It is for
// one process at a time and not safe for concurrent use.
type Authority struct {
	dir     string
	cluster clusterFile
	roots   []*x509.Certificate // newest first
	cross   []*x509.Certificate // a newer CA's key, signed by the one before it
	signer  *x509.Certificate   // the root whose key we hold
	key     *ecdsa.PrivateKey
	gossip  []byte // the file as it is
	ring    *KeyRing
}

type clusterFile struct {
	Format  int       `json:"format"`
	Cluster string    `json:"cluster_id"`
	Created time.Time `json:"created"`
}

// Init makes a new authority, with a new cluster id, gossip key and key ring, in
// dir, which is created if need be. It refuses a directory that already holds
// any file of an authority: a second CA in the same place would orphan every
// certificate of the first.
func Init(dir string, now time.Time) (*Authority, error) {
	if err := file.MakeDir(dir); err != nil {
		return nil, fmt.Errorf("make the authority's directory: %w", err)
	}
	for _, name := range []string{FileCA, FileCAKey, FileCluster, FileGossipKey, FileKeyRing} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return nil, fmt.Errorf("%w: %s is there; choose another directory", ErrAuthorityExists, filepath.Join(dir, name))
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	a := &Authority{
		dir:     dir,
		cluster: clusterFile{Format: clusterFormat, Cluster: uuid.NewString(), Created: now.UTC()},
		ring:    newKeyRing(now),
	}
	var err error
	if a.gossip, err = newGossipKey(); err != nil {
		return nil, err
	}
	if err := a.newRoot(now); err != nil {
		return nil, err
	}
	return a, a.saveAll()
}

// OpenAuthority reads the authority that Init made in dir.
func OpenAuthority(dir string) (*Authority, error) {
	a := &Authority{dir: dir}
	data, err := readFile(a.path(FileCluster))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing; `scaleout ca init %s` makes one", ErrNoAuthority, a.path(FileCluster), dir)
	} else if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &a.cluster); err != nil {
		return nil, fmt.Errorf("%s: %w", a.path(FileCluster), err)
	}
	if a.cluster.Format != clusterFormat || a.cluster.Cluster == "" {
		return nil, fmt.Errorf("%s has format %d and cluster id %q; this program reads format %d", a.path(FileCluster),
			a.cluster.Format, a.cluster.Cluster, clusterFormat)
	}
	if a.roots, err = a.readCertificates(FileCA); err != nil {
		return nil, err
	}
	if a.cross, err = a.readCertificates(FileCross); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := a.readKey(); err != nil {
		return nil, err
	}
	if a.gossip, err = readFile(a.path(FileGossipKey)); err != nil {
		return nil, fmt.Errorf("gossip key: %w", err)
	}
	if _, err := decodeGossipKey(a.gossip); err != nil {
		return nil, fmt.Errorf("%s: %w", a.path(FileGossipKey), err)
	}
	if a.ring, err = LoadKeyRing(a.path(FileKeyRing)); err != nil {
		return nil, err
	}
	return a, nil
}

// String hides the private key.
func (a *Authority) String() string { return "certificate authority in " + a.dir }

// GoString hides the private key from %#v.
func (a *Authority) GoString() string { return a.String() }

// ClusterID is the id that every certificate of the cluster carries.
func (a *Authority) ClusterID() string { return a.cluster.Cluster }

// Roots returns the CAs that nodes of the cluster trust, newest first.
func (a *Authority) Roots() []*x509.Certificate { return append([]*x509.Certificate(nil), a.roots...) }

// KeyRing returns the ring that new masters are given.
func (a *Authority) KeyRing() *KeyRing { return a.ring }

// Rotate makes a new CA beside the older ones; Issue uses it from now on. The
// previous CA signs the new one's key, so that nodes which trust only the
// previous one accept what is issued next. The previous CA's private key is
// overwritten: it can never sign again.
func (a *Authority) Rotate(now time.Time) error {
	if err := a.newRoot(now); err != nil {
		return err
	}
	// Certificates before key: if we end in between, the key still belongs to a
	// CA of the bundle, and OpenAuthority goes on with that one.
	if err := a.save(FileCross, encodeCertificates(a.cross), publicMode); err != nil {
		return err
	}
	if err := a.save(FileCA, encodeCertificates(a.roots), publicMode); err != nil {
		return err
	}
	return a.saveKey()
}

// Retire drops the oldest CA of the bundle and returns it. Leaves that were
// issued by it are refused as soon as nodes have the new ca.pem: renew them first.
func (a *Authority) Retire() (*x509.Certificate, error) {
	last := len(a.roots) - 1
	oldest := a.roots[last]
	if last == 0 || oldest.Equal(a.signer) {
		return nil, fmt.Errorf("%w: rotate first, then renew every certificate", ErrLastCA)
	}
	var cross []*x509.Certificate
	for _, c := range a.cross {
		if !bytes.Equal(c.AuthorityKeyId, oldest.SubjectKeyId) {
			cross = append(cross, c)
		}
	}
	a.roots, a.cross = a.roots[:last:last], cross
	if err := a.save(FileCA, encodeCertificates(a.roots), publicMode); err != nil {
		return nil, err
	}
	return oldest, a.save(FileCross, encodeCertificates(a.cross), publicMode)
}

// AddKey adds a new key to the ring and makes it the one that seals; older keys
// still open what they sealed.
func (a *Authority) AddKey(now time.Time) (keyID string, err error) {
	if keyID, err = a.ring.AddKey(now); err != nil {
		return "", err
	}
	return keyID, a.ring.Save(a.path(FileKeyRing))
}

func (a *Authority) newRoot(now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := rootTemplate(a.cluster.Cluster, now)
	if err != nil {
		return err
	}
	root, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	if a.signer != nil {
		bridge := *template
		if bridge.SerialNumber, err = newSerial(); err != nil {
			return err
		}
		bridge.SubjectKeyId = root.SubjectKeyId
		bridge.NotAfter = earlier(bridge.NotAfter, a.signer.NotAfter)
		cross, err := sign(&bridge, a.signer, &key.PublicKey, a.key)
		if err != nil {
			return err
		}
		a.cross = append([]*x509.Certificate{cross}, a.cross...)
	}
	a.roots = append([]*x509.Certificate{root}, a.roots...)
	a.signer, a.key = root, key
	return nil
}

func rootTemplate(cluster string, now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		// The serial makes the subject of each CA of a cluster its own; chains of
		// overlapping CAs are built by subject and key id.
		Subject: pkix.Name{CommonName: "Scale Out CA " + cluster[:min(8,
			len(cluster))] + " " + serial.Text(16)[:8], Organization: []string{"Scale Out " + cluster}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, nil
}

func sign(template, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func newSerial() (*big.Int, error) {
	// 127 bits with the top one set: positive, at most 20 octets, and always long
	// enough to show its first digits.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, err
	}
	return serial.SetBit(serial, 126, 1), nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (a *Authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *Authority) readCertificates(name string) ([]*x509.Certificate, error) {
	data, err := readFile(a.path(name))
	if err != nil {
		return nil, err
	}
	if name == FileCross && len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.path(name), err)
	}
	return certs, nil
}

func (a *Authority) readKey() error {
	data, err := readFile(a.path(FileCAKey))
	if err != nil {
		return fmt.Errorf("CA key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return fmt.Errorf("%s holds no PEM block", a.path(FileCAKey))
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", a.path(FileCAKey), err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("%s holds a %T; want an ECDSA key", a.path(FileCAKey), parsed)
	}
	for _, root := range a.roots {
		if key.PublicKey.Equal(root.PublicKey) {
			a.key, a.signer = key, root
			return nil
		}
	}
	return fmt.Errorf("%s belongs to none of the CAs in %s", a.path(FileCAKey), a.path(FileCA))
}

func (a *Authority) save(name string, data []byte, mode os.FileMode) error {
	return writeFile(a.path(name), data, mode)
}

func (a *Authority) saveKey() error {
	data, err := encodeKey(a.key)
	if err != nil {
		return err
	}
	return a.save(FileCAKey, data, privateKeyMode)
}

func (a *Authority) saveAll() error {
	if err := a.save(FileCA, encodeCertificates(a.roots), publicMode); err != nil {
		return err
	}
	if err := a.saveKey(); err != nil {
		return err
	}
	if err := a.save(FileGossipKey, a.gossip, privateKeyMode); err != nil {
		return err
	}
	if err := a.ring.Save(a.path(FileKeyRing)); err != nil {
		return err
	}
	data, err := json.MarshalIndent(a.cluster, "", "  ")
	if err != nil {
		return err
	}
	// Last: it is what OpenAuthority looks for first.
	return a.save(FileCluster, append(data, '\n'), publicMode)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
