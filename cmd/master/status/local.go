package status

import (
	"context"
	"crypto/x509"
	"net"
	"os"
	"strconv"
	"time"

	"scaleout/cluster/pki"
)

// lookupTimeout bounds how long a Host waits for the address behind a name.
const lookupTimeout = time.Second

// Local is where this master's own Host is read from.
type Local struct {
	Instance    string
	Advertise   string // "host:port"
	Settings    func() map[string]string
	Credentials Credentials
	Blobs       Blobs
	// Lookup finds the IP addresses of a host name; nil asks the resolver of this machine.
	Lookup func(ctx context.Context, network, host string) ([]net.IP, error)
}

// Credentials is this master's certificate.
type Credentials interface {
	Leaf() *x509.Certificate
	NotAfter() time.Time
}

// Blobs is this master's part in keeping blobs.
type Blobs interface {
	Missing() int
	DamagedSinceStart() int
}

// Host reads it now. What is unknown is empty: a master tells what it can.
func (l Local) Host() Host {
	h := Host{
		Instance: l.Instance, NotAfter: l.Credentials.NotAfter(), MissingBlobs: l.Blobs.Missing(),
		DamagedBlobs: l.Blobs.DamagedSinceStart(), Settings: l.Settings(),
	}
	h.Machine, _ = os.Hostname()
	if name, port, err := net.SplitHostPort(l.Advertise); err == nil {
		h.Port, _ = strconv.Atoi(port)
		h.IP = l.address(name)
	}
	h.Thumbprint, _ = pki.Thumbprints(l.Credentials.Leaf())
	return h
}

// address returns the first IP address of a host, "" if none is known within lookupTimeout.
func (l Local) address(host string) string {
	if ip := net.ParseIP(host); ip != nil {
		return ip.String()
	}
	lookup := l.Lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupIP
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	ips, err := lookup(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return ""
	}
	return ips[0].String()
}
