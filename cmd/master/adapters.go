package master

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/blobs"
	"scaleout/cluster/pki"
	"scaleout/cluster/transport"
	"scaleout/fsm"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/segment"
	"scaleout/httpapi"
	"scaleout/httpapi/forward"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
	"scaleout/store"
)

// security is the certificates as the port needs them.
type security struct{ *pki.Credentials }

func (s security) VerifyPeer(state tls.ConnectionState) error {
	usage := x509.ExtKeyUsageClientAuth
	if len(state.PeerCertificates) > 0 && state.ServerName != "" {
		usage = x509.ExtKeyUsageAny
	}
	id, err := s.Verify(state.PeerCertificates, usage)
	if err != nil {
		return err
	}
	if id.Role != pki.RoleMaster {
		return fmt.Errorf("%w: it is %s", pki.ErrNotMaster, id)
	}
	return nil
}

// Holder names whom a connection belongs to.
func (s security) Holder(state tls.ConnectionState) (string, error) {
	id, err := s.Verify(state.PeerCertificates, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return "", err
	}
	return string(id.Role) + " " + id.Name, nil
}

// reached is a limit of the port as httpapi tells it.
func reached(r *http.Request) *service.LimitReached {
	limit, ok := transport.Reached(r)
	if !ok {
		return nil
	}
	return &service.LimitReached{Limit: limit.Setting, Detail: limit.Error() + "; close some, or let them be used again",
		Retry: 5 * time.Second}
}

// masterHosts are the hosts at which other masters are known to be.
func (m *Master) masterHosts() []string {
	hosts := []string{}
	for _, entry := range m.cfg.RetryJoin {
		hosts = append(hosts, hostOf(entry))
	}
	for _, id := range m.node.Servers() {
		if a, ok := m.node.Address(id); ok {
			hosts = append(hosts, hostOf(a))
		}
	}
	return hosts
}

// hostOf is the host of "host" or "host:port".
func hostOf(entry string) string {
	if host, _, err := net.SplitHostPort(entry); err == nil {
		return host
	}
	return strings.Trim(entry, "[]")
}

// identify tells httpapi who a certificate's holder is.
func (m *Master) identify(chain []*x509.Certificate) (command.Caller, error) {
	id, err := m.creds.Verify(chain, x509.ExtKeyUsageClientAuth)
	switch {
	case errors.Is(err, pki.ErrNoCertificate):
		return command.Caller{}, fmt.Errorf("%w: %w", httpapi.ErrCertificateRequired, err)
	case errors.Is(err, pki.ErrUnknownCluster):
		return command.Caller{}, fmt.Errorf("%w: %w", httpapi.ErrUnknownCluster, err)
	case err != nil:
		return command.Caller{}, err
	}
	return command.Caller{Kind: string(id.Role), Name: id.Name, Roles: id.Roles}, nil
}

// member is the node's place in the cluster.
type member struct{ *Master }

func (a member) Changed() <-chan struct{}  { return a.node.LeaderChanged() }
func (a member) Stopping() <-chan struct{} { return a.stopping }
func (a member) Place() forward.Place {
	l, known := a.node.Leader()
	term, ready := a.node.IsLeader()
	p := forward.Place{Known: known, Here: ready && known && l.ID == a.ID()}
	if known {
		p.Leader = wire.Leader{ID: l.ID, Name: l.Name, Address: "https://" + l.Address, Term: max(l.Term, term),
			Since: l.Since}
	}
	p.Contact = a.node.Contact()
	return p
}

// peerURL is a leader's base URL for the masters' own connections: its id is the host.
func peerURL(l wire.Leader) string { return "https://" + l.ID }

// proposer is the way into the log. A command that names a blob goes in only while a majority holds it.
type proposer struct{ m *Master }

func (a proposer) Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error) {
	digest, err := env.Blob()
	if err != nil {
		return command.Result{}, 0, err
	}
	if digest != "" {
		if err := a.m.keeper.Ensure(ctx, digest); err != nil {
			return command.Result{}, 0, err
		}
	}
	return a.m.node.Propose(ctx, env)
}
func (a proposer) Read(ctx context.Context) error { return a.m.node.Read(ctx) }
func (a proposer) Hold(ctx context.Context) (context.Context, context.CancelFunc) {
	return a.m.node.Hold(ctx)
}

// machine is the state machine as the node needs it.
type machine struct{ *fsm.FSM }

func (a machine) Reader() cluster.MachineReader { return a.FSM.Reader() }

// workers is the leader's side of the workers.
type workers struct{ m *Master }

func (a workers) Register(
	ctx context.Context, cmd *command.RegisterWorker, received time.Time,
) (command.Registration, error) {
	return a.m.dispatch.Register(ctx, cmd, received)
}

func (a workers) Exchange(ctx context.Context, p command.Poll) (command.Answer, error) {
	return a.m.dispatch.Exchange(ctx, p)
}

func (a workers) Messages(ctx context.Context, worker string, parts []segment.Part) ([]command.Accepted, error) {
	return a.m.packer.Add(ctx, worker, parts)
}

// disk is the data directory's blobs.
type disk struct{ *store.Blobs }

func (d disk) Open(digest string) (blobs.Blob, error) {
	b, err := d.Blobs.Open(digest)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (d disk) Mark(digest string, u blobs.Upload) error { return d.Blobs.Mark(digest, store.Upload(u)) }
func (d disk) Marked() map[string]blobs.Upload {
	out := map[string]blobs.Upload{}
	for digest, u := range d.Blobs.Marked() {
		out[digest] = blobs.Upload(u)
	}
	return out
}

// membership is the latest configuration.
type membership struct{ node *cluster.Node }

func (a membership) Self() string { return a.node.ID() }
func (a membership) Configuration() (uint64, []string, []string) {
	index, voters := a.node.Voters()
	is := make(map[string]bool, len(voters))
	for _, id := range voters {
		is[id] = true
	}
	var others []string
	for _, id := range a.node.Servers() {
		if !is[id] {
			others = append(others, id)
		}
	}
	return index, voters, others
}

// names is what the state names.
type names struct{ *fsm.FSM }

func (a names) Named(digest string) bool  { return a.Reader().Named(digest) }
func (a names) Digests() iter.Seq[string] { return a.Reader().Blobs() }

// segments are message segments among the blobs.
type segments struct{ *blobs.Keeper }

func (a segments) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	b, err := a.Keeper.Open(ctx, digest)
	if err != nil {
		return nil, err
	}
	return b, nil
}
func (a segments) OpenSegment(ctx context.Context, digest string) (io.ReadCloser, error) {
	return a.Open(ctx, digest)
}

// project is project files among the blobs.
type project struct{ *blobs.Keeper }

func (a project) Store(ctx context.Context, r io.Reader, limit int64) (string, int64, error) {
	return a.Keeper.Store(ctx, r, limit)
}
func (a project) Put(ctx context.Context, by, digest string, size int64, r io.Reader) (int64, error) {
	size, err := a.Keeper.Upload(ctx, by, digest, size, r)
	var limit *blobs.LimitError
	if errors.As(err, &limit) {
		return 0, &service.LimitReached{Limit: "MaxUnnamedBlobBytes", Detail: limit.Error(), Retry: time.Hour}
	}
	return size, err
}
func (a project) Confirm(ctx context.Context, digest string) (int64, error) {
	if err := a.Keeper.Ensure(ctx, digest); err != nil {
		return 0, err
	}
	b, err := a.Keeper.Open(ctx, digest)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	return b.Size(), nil
}
func (a project) Open(ctx context.Context, digest string) (procedure.ReaderAtCloser, int64, error) {
	b, err := a.Keeper.Open(ctx, digest)
	if err != nil {
		return nil, 0, err
	}
	return b, b.Size(), nil
}

// seal and open encrypt and decrypt secrets with this master's key ring.
func (m *Master) seal(plaintext []byte, associated string) (*command.Sealed, error) {
	id, nonce, ciphertext, err := m.ring.Seal(plaintext, []byte(associated))
	if err != nil {
		return nil, err
	}
	return &command.Sealed{KeyID: id, Nonce: nonce, Ciphertext: ciphertext}, nil
}

func (m *Master) open(s *command.Sealed, associated string) ([]byte, error) {
	return m.ring.Open(s.KeyID, s.Nonce, s.Ciphertext, []byte(associated))
}
