package testcluster_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/testcluster"
)

// attackerVariable names the file that tells a process which attack to run.
const attackerVariable = "SCALEOUT_TESTCLUSTER_ATTACKER"

// attacker is the attackers' process. It knows of the cluster what everybody can know.
type attacker struct {
	Name    string
	Length  time.Duration
	Masters []string // "host:port"
	Gossip  []string // "host:port"
	Args    map[string]string

	did atomic.Int64
}

// runAttacker runs an attack in a process of its own and returns the number of its actions.
func runAttacker(t *testing.T, c *testcluster.Cluster, a *attack, args map[string]string, length time.Duration) (int64,
	error) {
	t.Helper()
	x := attacker{Name: a.name, Length: length, Args: args}
	for i := range c.Masters() {
		x.Masters = append(x.Masters, c.Address(i))
		x.Gossip = append(x.Gossip, c.Gossip(i))
	}
	raw, err := json.Marshal(&x)
	if err != nil {
		return 0, err
	}
	file := filepath.Join(t.TempDir(), "attack.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), length+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nice", "-n", "19", os.Args[0])
	cmd.Env = append(os.Environ(), attackerVariable+"="+file, "GOMAXPROCS=1")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, tail(said.String()))
	}
	var did int64
	_, err = fmt.Sscan(out.String(), &did)
	return did, err
}

func tail(s string) string { return s[max(0, len(s)-2000):] }

// attackerMain is the attackers' process.
func attackerMain(file string) int {
	var x attacker
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &x)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), x.Length)
	defer cancel()
	for i := range attacks {
		if attacks[i].name != x.Name {
			continue
		}
		if err := attacks[i].attack(ctx, &x); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(x.did.Load())
		return 0
	}
	fmt.Fprintf(os.Stderr, "no attack %q\n", x.Name)
	return 1
}

// strangersAddress is the address that attackers use.
const strangersAddress = "127.0.0.2"

// dial connects from the attackers' own address, and dialFrom from any other address of this machine.
func (x *attacker) dial(ctx context.Context, addr string) (net.Conn, error) {
	return x.dialFrom(ctx, strangersAddress, addr)
}

func (x *attacker) dialFrom(ctx context.Context, from, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return d.DialContext(ctx, "tcp", addr)
}

// tls makes a handshake from the attackers' own address, and tlsFrom from any other, with the certificate in a folder.
// "" means without a certificate.
func (x *attacker) tls(ctx context.Context, addr, folder string) (*tls.Conn, error) {
	return x.tlsFrom(ctx, strangersAddress, addr, folder)
}

func (x *attacker) tlsFrom(ctx context.Context, from, addr, folder string) (*tls.Conn, error) {
	conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	if folder != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(folder, pki.FileCert), filepath.Join(folder, pki.FileKey))
		if err != nil {
			return nil, err
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	raw, err := x.dialFrom(ctx, from, addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, conf)
	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := conn.HandshakeContext(bounded); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// many lets n attackers repeat an action until ctx ends. The actions are numbered across all attackers. An attacker
// whose action fails waits a moment.
func (x *attacker) many(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			for k := i; ctx.Err() == nil; k += n {
				if err := do(ctx, k); err == nil {
					continue
				}
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	group.Wait()
	return nil
}

// master is one of the masters' addresses, in turn.
func (x *attacker) master(i int) string { return x.Masters[i%len(x.Masters)] }

// hold keeps a connection open until the other side closes it, the time is over or ctx ends.
func hold(ctx context.Context, c net.Conn, most time.Duration) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	_ = c.SetReadDeadline(time.Now().Add(most))
	buf := make([]byte, 512)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

var errTurnedAway = errors.New("turned away")

// newClientTLS returns a TLS configuration without a certificate that trusts any server.
func newClientTLS(raw net.Conn) *tls.Conn {
	return tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
}
