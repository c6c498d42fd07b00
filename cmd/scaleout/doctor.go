package main

import (
	"cmp"
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

	"scaleout/cluster/pki"
	"scaleout/cmd/scaleout/settings"
	"scaleout/cmd/worker"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// symptom is one line of the doctor's report.
type symptom struct {
	Master string `json:"master,omitempty"` // "" when it is about this side alone
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// target is what the doctor looks at: one set of certificates and the masters that it shall reach.
type target struct {
	creds    *pki.Credentials
	masters  []string
	files    pki.Files
	findings []symptom
}

func (a *app) doctorCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Say what is wrong between this machine and the masters", Args: cobra.NoArgs,
		Long: `Look, from this machine, at each step between it and every master: certificate files, name resolution, port,
TLS (which side does not trust which thumbprint), clocks, the certificate's role, leader, versions. With a worker's
settings file it does so as that worker; when SCALEOUT_CERT is an administrator's or executor's certificate too, it
also looks the worker up in worker_agents.`,
		Example: "  scaleout doctor --config WorkerSettings.config\n  scaleout doctor --addr https://m1:8391,https://m2:8391",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := &target{masters: splitList(a.addr), files: pki.Files{CA: a.cacert, Cert: a.cert, Key: a.key}}
			var w settings.Worker
			pins, thumbprint := "", ""
			if config != "" {
				if err := settings.NewWorker(&w).Load(config, os.LookupEnv); err != nil {
					return settingsError(err)
				}
				p.masters = w.MasterEndpoint
				p.files = pki.Files{CA: w.CACertFile, Cert: w.CertFile, Key: w.KeyFile}
				pins, thumbprint = strings.Join(w.MasterHttpsCertThumbprint, ","), w.WorkerHttpsCertThumbprint
			}
			p.examine(cmd.Context(), pins, thumbprint)
			if config != "" && p.creds != nil {
				p.role(pki.RoleWorker)
				a.worker(cmd.Context(), p, w)
			}
			return a.report(cmd, p.findings)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "a worker's settings file: look with its certificate at its masters")
	return cmd
}

func (p *target) say(master, check string, ok bool, format string, args ...any) bool {
	p.findings = append(p.findings, symptom{master, check, ok, fmt.Sprintf(format, args...)})
	return ok
}

func (p *target) examine(ctx context.Context, pins, thumbprint string) {
	creds, err := pki.OpenCredentials(pki.CredentialsConfig{Files: p.files, Pins: pins, Thumbprint: thumbprint})
	if err != nil {
		p.say("", "certificate files", false, "%v", err)
		return
	}
	p.creds = creds
	_, print := pki.Thumbprints(creds.Leaf())
	p.say("", "certificate files", true, "%s, valid until %s, thumbprint %s",
		creds.Identity(), creds.NotAfter().UTC().Format(time.DateOnly), print)
	if left := time.Until(creds.NotAfter()); left < pki.ExpiryWarning {
		p.say("", "expiry", false, "the certificate expires in %d days; issue a new one with 'scaleout ca issue' into the "+
			"same folder, it is taken up without a restart", int(left.Hours()/24))
	}
	leaders := map[string]bool{}
	versions := map[string]bool{}
	for _, m := range p.masters {
		leader, version := p.master(ctx, m)
		if leader != "" {
			leaders[leader] = true
		}
		if version != "" {
			versions[version] = true
		}
	}
	if len(leaders) > 1 {
		p.say("", "leader", false, "the masters name %d different leaders; an election may be under way, look again",
			len(leaders))
	}
	if len(versions) > 1 || len(versions) == 1 && !versions[version] {
		p.say("", "versions", true, "this is %s, the masters are %s: fine during an upgrade", version,
			strings.Join(keys(versions), ", "))
	}
}

func keys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}

// master goes from the name to the first answer, and stops at the first step that fails: what follows cannot work.
func (p *target) master(ctx context.Context, address string) (leader, version string) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Port() == "" {
		p.say(address, "address", false, "want https://host:port")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if net.ParseIP(u.Hostname()) == nil {
		ips, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
		if err != nil {
			p.say(address, "name resolution", false, "%v; add %s to DNS or to the hosts file", err, u.Hostname())
			return
		}
		p.say(address, "name resolution", true, "%s", strings.Join(ips, ", "))
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		p.say(address, "port", false, "%v; is the master running, is port %s open in the firewalls between here and there?",
			err, u.Port())
		return
	}
	p.say(address, "port", true, "%s answers", conn.RemoteAddr())
	if !p.handshake(ctx, address, u.Hostname(), conn) {
		return
	}
	return p.ask(ctx, address)
}

// handshake makes a TLS connection without verification, so that it can name the certificate that it would refuse.
func (p *target) handshake(ctx context.Context, address, host string, conn net.Conn) bool {
	defer conn.Close()
	// The chain is verified below; only the certificate is taken from this connection.
	probe := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
		NextProtos: []string{"http/1.1"}, ServerName: host})
	if err := probe.HandshakeContext(ctx); err != nil {
		return p.say(address, "tls", false, "no TLS 1.3 there: %v; is this the PortNumber of a master?", err)
	}
	chain := probe.ConnectionState().PeerCertificates
	leaf := chain[0]
	_, print := pki.Thumbprints(leaf)
	id, err := p.creds.Verify(chain, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return p.say(address, "master's certificate", false,
			"this side does not trust the master's certificate %s (issued by %q): %v; "+
				"compare ca.pem here with the master's", print, leaf.Issuer.CommonName, err)
	}
	if id.Role != pki.RoleMaster {
		return p.say(address, "master's certificate", false, "it is %s and not a master's", id)
	}
	if err := leaf.VerifyHostname(host); err != nil {
		return p.say(address, "master's certificate", false, "%v; issue it again with --host %s", err, host)
	}
	return p.say(address, "master's certificate", true, "%s, thumbprint %s", id, print)
}

// ask makes real calls with this side's certificate.
func (p *target) ask(ctx context.Context, address string) (leader, version string) {
	transport := client.NewTransport(p.creds.ClientTLS("http/1.1"))
	transport.DialTLSContext = p.creds.DialTLS(nil, "http/1.1")
	defer transport.CloseIdleConnections()
	get := func(path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+path, nil)
		if err != nil {
			return nil, err
		}
		return transport.RoundTrip(req)
	}
	resp, err := get("/v1/status/leader")
	if err != nil {
		if errors.Is(err, pki.ErrNotPinned) {
			p.say(address, "pinning", false, "%v; correct MasterHttpsCertThumbprint", err)
		} else {
			p.say(address, "https", false, "%v", err)
		}
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		p.say(address, "https", false, "%v", err)
		return
	}
	p.clock(address, resp)
	var problem wire.Problem
	switch resp.StatusCode {
	case http.StatusOK:
		var l wire.Leader
		if err := json.Unmarshal(body, &l); err != nil {
			p.say(address, "leader", false, "its answer is not understood: %v", err)
			return
		}
		leader = l.ID
		p.say(address, "your certificate", true, "the master takes it")
		p.say(address, "leader", true, "%s at %s since %s", l.Name, l.Address, l.Since.UTC().Format(time.RFC3339))
	case http.StatusUnauthorized, http.StatusForbidden:
		_, print := pki.Thumbprints(p.creds.Leaf())
		_ = json.Unmarshal(body, &problem) // without it the status alone must do
		p.say(address, "your certificate", false,
			"the master does not take your certificate %s: %s (%s); issue one from the cluster's CA",
			print, problem.Detail, problem.Code)
		return
	default:
		_ = json.Unmarshal(body, &problem)
		p.say(address, "your certificate", true, "the master takes it")
		p.say(address, "leader", false, "%s: %s", resp.Status, problem.Detail)
	}
	return leader, p.version(address, get)
}

// clock compares clocks by the Date header, which counts in seconds.
func (p *target) clock(address string, resp *http.Response) {
	at, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return
	}
	off := time.Since(at)
	if off.Abs() > 30*time.Second {
		p.say(address, "clock", false, "the clocks are %v apart; synchronise them. Leases do not depend on it, times in "+
			"views do", off.Round(time.Second))
		return
	}
	p.say(address, "clock", true, "within %v", max(time.Second, off.Abs().Round(time.Second)))
}

func (p *target) version(address string, get func(string) (*http.Response, error)) string {
	resp, err := get("/v1/openapi.json")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var doc struct {
		Info struct {
			Version string `json:"version"`
		} `json:"info"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 8<<20)).Decode(&doc); err != nil {
		p.say(address, "version", false, "its description is not understood: %v", err)
		return ""
	}
	p.say(address, "version", true, "%s", doc.Info.Version)
	return doc.Info.Version
}

// role checks what the certificate is for.
func (p *target) role(want pki.Role) {
	if err := p.creds.Identity().Require(want); err != nil {
		p.say("", "role", false, "%v", err)
	}
}

// worker looks the worker up with a user's certificate, if there is one.
func (a *app) worker(ctx context.Context, p *target, w settings.Worker) {
	if a.cert == "" {
		p.say("", "worker_agents", true, "not looked up: set SCALEOUT_CERT to a user's certificate with ssis_admin or "+
			"ssis_cluster_executor")
		return
	}
	c, err := a.client()
	if err == nil {
		var rows []client.Row
		if rows, err = collect(ctx, c, "worker_agents", client.Query{}, 10_000); err == nil {
			p.agent(rows, w)
			return
		}
	}
	p.say("", "worker_agents", false, "not readable: %v", friendly(err))
}

// agent finds this machine's worker by its id; before it has one, or where its data directory cannot be read, by its
// certificate's name.
func (p *target) agent(rows []client.Row, w settings.Worker) {
	own := w.AgentId
	if own == "" {
		own, _ = worker.AgentID(w.DataDirectory) // it may be for the worker's account alone
	}
	name := p.creds.Identity().Name
	for _, r := range rows {
		id := r.Text("WorkerAgentId")
		if own != "" && !sqltype.EqualText(id, own) || own == "" && !sqltype.EqualText(r.Text(columnCertificate), name) {
			continue
		}
		if !r.Bool("IsEnabled") {
			p.say("", "worker_agents", false, "worker %s is disabled; 'scaleout worker enable %s'", id, id)
			return
		}
		last, ok := r.Time("LastOnlineTime")
		if limit := 2 * time.Duration(w.AgentHeartbeatInterval); !ok || time.Since(last) > limit {
			p.say("", "worker_agents", false, "worker %s is enabled and was last heard from at %s, more than %v ago; is it "+
				"running?", id, last.UTC().Format(time.RFC3339), limit)
			return
		}
		p.say("", "worker_agents", true, "worker %s is enabled and online", id)
		return
	}
	p.say("", "worker_agents", false, "no worker %s has registered yet; start it and look into its log", cmp.Or(own, name))
}

func (a *app) report(cmd *cobra.Command, findings []symptom) error {
	wrong := 0
	for _, f := range findings {
		if !f.OK {
			wrong++
		}
	}
	if a.output == "json" {
		if err := printJSON(cmd, findings); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			mark := "ok   "
			if !f.OK {
				mark = "WRONG"
			}
			where := f.Check
			if f.Master != "" {
				where = f.Master + "  " + f.Check
			}
			sayf(cmd.OutOrStdout(), "%s  %s: %s", mark, where, f.Detail)
		}
	}
	if wrong > 0 {
		return &statusError{exitError, fmt.Errorf("%d of %d checks found something wrong", wrong, len(findings))}
	}
	return nil
}
