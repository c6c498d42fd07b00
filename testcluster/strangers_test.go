package testcluster_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/cluster/transport"
	"scaleout/cmd/master"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// Many connections of strangers that announce bodies and send none do not end the master, and callers with a
// certificate are still served.
func TestAPortFullOfStrangersServesTheOthers(t *testing.T) {
	c := testcluster.Start(t, 1, testcluster.Settings(func(_ int, cfg *master.Config) {
		cfg.Connections = transport.Limits{Handshakes: 8, Strangers: 4,
			Unlimited: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}
	}))
	var conns []net.Conn
	defer func() {
		for _, x := range conns {
			_ = x.Close()
		}
	}()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}, Timeout: 20 * time.Second}
	for i := range 40 {
		raw, err := d.Dial("tcp", c.Address(0))
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Skip(err)
		}
		if err != nil {
			continue // refused
		}
		conns = append(conns, raw)
		if i%2 == 0 {
			continue // says nothing
		}
		stranger := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = fmt.Fprintf(stranger, "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := c.Admin().Call(ctx, "create_folder", map[string]any{"folder_name": "F"}); err != nil {
		t.Error(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.Address(0)+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Nobody().Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("a load balancer elsewhere: %v %v", resp, err)
	}
	_ = resp.Body.Close()
	if err := c.Master(0).Alive(ctx); err != nil {
		t.Errorf("the watchdog: %v", err)
	}
}

func TestTooManyConnectionsOfOneCertificateAreToldSo(t *testing.T) {
	c := testcluster.Start(t, 1, testcluster.Settings(func(_ int,
		cfg *master.Config) {
		cfg.Connections.PerCertificate = 2
	}))
	ask := func(name string) (*http.Response, wire.Problem) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.Address(0)+"/v1/status/leader", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.As(pki.RoleUser, name).Do(req) // each call has a client of its own, which keeps its connection open
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var p wire.Problem
		if resp.StatusCode != http.StatusOK {
			if err := json.Unmarshal(raw, &p); err != nil {
				t.Fatal(err, string(raw))
			}
		}
		return resp, p
	}
	for i := range 3 {
		resp, p := ask("ada")
		if i < 2 && resp.StatusCode != http.StatusOK {
			t.Fatalf("connection %d: %s", i, resp.Status)
		}
		if i == 2 && (resp.StatusCode != 429 || p.Limit != transport.LimitPerCertificate || p.Code != wire.CodeLimitReached ||
			resp.Header.Get("Retry-After") == "" || !resp.Close) {
			t.Errorf("the third: %s, %+v, Retry-After %q", resp.Status, p, resp.Header.Get("Retry-After"))
		}
	}
	if resp, _ := ask("bob"); resp.StatusCode != http.StatusOK {
		t.Errorf("another name: %s", resp.Status)
	}
}
