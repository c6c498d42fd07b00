package master

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"runtime"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/backup"
	"scaleout/cluster/blobs"
	"scaleout/cluster/pki"
	"scaleout/cluster/transport"
	"scaleout/fsm"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/segment"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi"
	"scaleout/httpapi/forward"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
	"scaleout/store"
)

// reached is a limit of the port as httpapi tells it.
func reached(r *http.Request) *service.LimitReached {
	limit, ok := transport.Reached(r)
	if !ok {
		return nil
	}
	return &service.LimitReached{Limit: limit.Setting, Detail: limit.Error() + "; " + limit.Remedy(),
		Retry: transport.RetryAfter}
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
	p := a.node.Place()
	l := wire.Leader{ID: p.Leader.ID, Name: p.Leader.Name, Term: p.Leader.Term, Since: p.Leader.Since}
	if p.Known {
		l.Address = "https://" + p.Leader.Address
	}
	return forward.Place{Leader: l, Known: p.Known, Here: p.Here, Contact: p.Contact}
}

// peerURL is a leader's base URL for the masters' own connections: its id is the host.
func peerURL(l wire.Leader) string { return "https://" + l.ID }

// proposer is the way into the log, past the keeper of blobs.
type proposer struct {
	*cluster.Node
	blobs blobs.Proposer
}

func (m *Master) proposer() proposer {
	return proposer{m.node, blobs.Proposer{Keeper: m.keeper, Log: m.node}}
}

func (a proposer) Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error) {
	return a.blobs.Propose(ctx, env)
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
type membership struct{ *cluster.Node }

func (a membership) Self() string { return a.ID() }

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
		return 0, &service.LimitReached{Limit: "MaxUnnamedBlobBytes", Detail: limit.Error(), Retry: blobs.RetryAfter}
	}
	return size, err
}
func (a project) Open(ctx context.Context, digest string) (procedure.ReaderAtCloser, int64, error) {
	b, err := a.Keeper.Open(ctx, digest)
	if err != nil {
		return nil, 0, err
	}
	return b, b.Size(), nil
}

// seal and open encrypt and decrypt secrets with this master's key ring.
func (m *Master) seal(secret sqltype.Secret[string], associated string) (*command.Sealed, error) {
	id, nonce, ciphertext, err := m.ring.Seal([]byte(secret.Reveal()), []byte(associated))
	if err != nil {
		return nil, err
	}
	return &command.Sealed{KeyID: id, Nonce: nonce, Ciphertext: ciphertext}, nil
}

func (m *Master) open(s *command.Sealed, associated string) (sqltype.Secret[string], error) {
	plaintext, err := m.ring.Open(s.KeyID, s.Nonce, s.Ciphertext, []byte(associated))
	if err != nil {
		return sqltype.Secret[string]{}, err
	}
	return sqltype.NewSecret(string(plaintext)), nil
}

// operator is the cluster as an operator sees it.
type operator struct{ m *Master }

func (a operator) Peers() []string { return a.m.node.Peers() }

func (a operator) Masters() []string {
	var out []string
	for _, p := range a.m.node.Peers() {
		out = append(out, "https://"+p)
	}
	return out
}

func (a operator) Transfer(ctx context.Context, to string) error {
	return a.m.node.Transfer(ctx, a.m.node.MemberID(ctx, to))
}

func (a operator) Remove(ctx context.Context, member string, force bool) error {
	return a.m.node.Remove(ctx, a.m.node.MemberID(ctx, member), force)
}

func (a operator) Status(ctx context.Context) (wire.ClusterStatus, error) {
	return a.m.status.Cluster(ctx), nil
}

// backups is what httpapi needs of backups.
type backups struct{ *backup.Backups }

func (a backups) Save(ctx context.Context, w io.Writer, o httpapi.SaveOptions) error {
	options, err := backup.ParseOptions(o.Blobs, o.Key, o.Lock)
	if err != nil {
		return &wire.BadInput{Code: wire.CodeInvalidArgument, Detail: wire.HeaderBackupLock + ": " + err.Error()}
	}
	return a.Backups.Save(ctx, w, options)
}

func (a backups) Restore(ctx context.Context, r io.Reader, key []byte) (wire.Restored, error) {
	out, err := a.Backups.Restore(ctx, r, key)
	return wire.Restored{
		Cluster: out.Cluster, Index: out.Index, NewIndex: out.NewIndex, Blobs: out.Blobs, KeyRing: out.KeyRing,
		Missing: out.Missing,
	}, err
}

// debug is this master for a bundle.
func (m *Master) debug() wire.Debug {
	c := &m.cfg
	return wire.Debug{
		Name: c.Name, ID: m.ID(), Version: c.Version, Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Level: command.Level, State: string(m.node.State()), Started: m.started, Log: m.tail.Lines(),
		Settings: c.Settings(m.advertise, m.node.Timing()),
	}
}
