package master

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// Fresh reports whether the data directory was empty when this master opened it: it then waits for others to form or
// join a cluster with, which may need an operator's next step.
func (m *Master) Fresh() bool { return m.dir.New() }

// Waiting says what this master waits for before it can serve, "" when it can.
func (m *Master) Waiting(ctx context.Context) string {
	var waits []string
	for _, c := range m.ready(ctx) {
		if !c.OK {
			waits = append(waits, c.Detail)
		}
	}
	return strings.Join(waits, "; ")
}

// Alive asks this master's own /livez through its port, as anybody would. An error means that it does not work any
// more, whatever else it does.
func (m *Master) Alive(ctx context.Context) error {
	transport := &http.Transport{
		DisableKeepAlives: true, // a connection of its own each time: the listener is part of the question
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13,
			NextProtos: []string{"http/1.1"},
			// The certificate names where others reach this port; here it is enough that it is one of a master.
			InsecureSkipVerify: true,
			VerifyConnection: func(state tls.ConnectionState) error {
				_, err := m.creds.Verify(state.PeerCertificates, x509.ExtKeyUsageServerAuth)
				return err
			},
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+m.door()+"/livez", nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("this master does not answer on its own port: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("this master answers its own /livez with %s", resp.Status)
	}
	return nil
}

// door is where this machine reaches the port.
func (m *Master) door() string {
	if l := m.cfg.Listener; l != nil {
		return l.Addr().String()
	}
	host := m.cfg.BindAddress
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, strconv.Itoa(m.cfg.Port))
}
