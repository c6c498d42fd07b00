package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/service"
	"scaleout/httpapi/wire"
)

// probeTime bounds one question: a master that needs longer to say that it is ready is not.
const probeTime = 3 * time.Second

func (a *app) readyCommand() *cobra.Command {
	var wait time.Duration
	var leader bool
	var worker string
	cmd := &cobra.Command{
		Use: "ready", Short: "Exit 0 when a master (or a worker of this machine) is ready, else 1", Args: cobra.NoArgs,
		Long: `Ask /readyz of every master in --addr and exit 0 when all are ready, else 1 with what they wait for. It is made
for health checks in images that hold nothing else, and for scripts that restart one master after the other.

A certificate is not needed. With --cacert the master must show a certificate of that CA; without it only this machine's
own masters may be asked, and whatever certificate they show is taken.`,
		Example: `  scaleout ready
  scaleout ready --addr https://master-1:8391 --cacert ca.pem --wait 2m
  scaleout ready --worker /var/lib/scaleout-worker`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if worker != "" {
				return eventually(ctx, wait, func(context.Context) error { return service.Health(worker, time.Now()) })
			}
			path := "/readyz"
			if leader {
				path = "/leader"
			}
			masters := splitList(a.addr)
			if len(masters) == 0 {
				return usagef("--addr names no master")
			}
			for _, m := range masters {
				transport, err := probeTransport(m, a.cacert)
				if err != nil {
					return err
				}
				defer transport.CloseIdleConnections()
				err = eventually(ctx, wait, func(ctx context.Context) error { return probe(ctx, transport, m, path) })
				if err != nil {
					return fmt.Errorf("%s: %w", m, err)
				}
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 0, "keep asking for so long; 0: ask once")
	cmd.Flags().BoolVar(&leader, "leader", false, "ask whether the master leads instead")
	cmd.Flags().StringVar(&worker, "worker", "",
		"data directory of a worker of this machine: ask whether it exchanges with the masters")
	return cmd
}

// eventually calls f until it succeeds or the time is up, and returns f's last error.
func eventually(ctx context.Context, wait time.Duration, f func(context.Context) error) error {
	deadline := time.Now().Add(wait)
	for {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, probeTime)
			defer cancel()
			return f(ctx)
		}()
		if err == nil || !time.Now().Before(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(min(250*time.Millisecond, time.Until(deadline))):
		}
	}
}

// probeTransport trusts the CA file. Without one it trusts any certificate of this machine itself, since the probe
// sends no secret and only reads whether the master is ready.
func probeTransport(master, cacert string) (*http.Transport, error) {
	u, err := url.Parse(master)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, usagef("--addr %q: want https://host:port", master)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	local := loopback(u.Hostname())
	switch {
	case cacert != "":
		pem, err := os.ReadFile(cacert)
		if err != nil {
			return nil, fmt.Errorf("--cacert: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--cacert %s holds no certificate", cacert)
		}
		if local {
			// A master's certificate names where others reach it, which need not be the loopback address.
			config.InsecureSkipVerify = true
			config.VerifyConnection = chainsTo(config.RootCAs)
		}
	case local:
		config.InsecureSkipVerify = true
	default:
		return nil, usagef("--cacert is needed to ask %s, which is not this machine", u.Host)
	}
	return &http.Transport{TLSClientConfig: config, Proxy: nil}, nil
}

// chainsTo checks the chain and not the name.
func chainsTo(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, c := range state.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		return err
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// probe asks one open route; the error says what the master waits for.
func probe(ctx context.Context, transport http.RoundTripper, master, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(master, "/")+path+"?verbose", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var said wire.Ready
	if json.Unmarshal(body, &said) != nil || len(said.Checks) == 0 {
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	var waits []string
	for _, c := range said.Checks {
		if !c.OK {
			waits = append(waits, c.Name+": "+c.Detail)
		}
	}
	return fmt.Errorf("not ready: %s", strings.Join(waits, "; "))
}
