package status

import (
	"context"
	"crypto/sha1"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fakeLocal is the certificate and the blobs of a master.
type fakeLocal struct{ missing, damaged int }

var (
	leaf     = &x509.Certificate{Raw: []byte("certificate")}
	notAfter = time.Unix(2000, 0)
)

func (f fakeLocal) Leaf() *x509.Certificate { return leaf }
func (f fakeLocal) NotAfter() time.Time     { return notAfter }
func (f fakeLocal) Missing() int            { return f.missing }
func (f fakeLocal) DamagedSinceStart() int  { return f.damaged }

func TestLocal(t *testing.T) {
	machine, _ := os.Hostname()
	settings := map[string]string{"RetryDelayInMs": "1"}
	known := fakeLocal{missing: 2, damaged: 3}
	got := Local{
		Instance: "I", Advertise: "10.0.0.7:8391", Credentials: known, Blobs: known,
		Settings: func() map[string]string { return settings },
	}.Host()
	want := Host{
		Machine: machine, IP: "10.0.0.7", Port: 8391, Thumbprint: strings.ToUpper(fmt.Sprintf("%x", sha1.Sum(leaf.Raw))),
		Instance: "I", NotAfter: notAfter, MissingBlobs: 2, DamagedBlobs: 3, Settings: settings,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want\n%+v", got, want)
	}
}

func TestLocalAddress(t *testing.T) {
	two := func(context.Context, string, string) ([]net.IP, error) {
		return []net.IP{net.IPv4(10, 0, 0, 7), net.IPv4(10, 0, 0, 8)}, nil
	}
	for _, c := range []struct {
		name, advertise string
		lookup          func(context.Context, string, string) ([]net.IP, error)
		ip              string
		port            int
		took            time.Duration
	}{
		{"an address is not looked up", "10.0.0.9:1", nil, "10.0.0.9", 1, 0},
		{"IPv6", "[fe80::1]:1", nil, "fe80::1", 1, 0},
		{"the first of a name", "m1:1", two, "10.0.0.7", 1, 0},
		{"no such name", "m1:1", func(context.Context, string, string) ([]net.IP, error) {
			return nil, errors.New("no such host")
		}, "", 1, 0},
		{"a name without addresses", "m1:1", func(context.Context, string, string) ([]net.IP, error) {
			return nil, nil
		}, "", 1, 0},
		{"a resolver that does not answer", "m1:1", func(ctx context.Context, _, _ string) ([]net.IP, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, "", 1, time.Second},
		{"no port", "m1", two, "", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				h := Local{
					Advertise: c.advertise, Lookup: c.lookup, Credentials: fakeLocal{}, Blobs: fakeLocal{},
					Settings: func() map[string]string { return nil },
				}.Host()
				if h.IP != c.ip || h.Port != c.port || time.Since(began) != c.took {
					t.Errorf("%q, port %d, after %v; want %q, %d, %v", h.IP, h.Port, time.Since(began), c.ip, c.port, c.took)
				}
			})
		})
	}
}
