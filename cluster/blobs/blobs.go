package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// errStopped: this node stops and has ended the search for a blob.
var errStopped = fmt.Errorf("%w: it stopped looking for the blob", command.ErrStopping)

// confirmed is how long a confirmation of a blob's holders stays valid.
const confirmed = 10 * time.Minute

// Blob is an open blob. It returns exactly the bytes that were stored.
type Blob interface {
	io.ReadCloser
	io.ReaderAt
	Size() int64
}

// Disk is this node's blob files.
type Disk interface {
	Put(ctx context.Context, digest string, r io.Reader, limit int64) (int64, error)
	Create(ctx context.Context, r io.Reader, limit int64) (digest string, size int64, err error)
	Open(digest string) (Blob, error) // any error: the blob is not on this disk, or its file is damaged
	Has(digest string) bool
	Touch(digest string) (bool, error)
	Delete(digest string, untouchedSince time.Time) (bool, error)
	Walk(visit func(digest string, size int64, touched time.Time) error) error
	// Verify reads the whole blob and sets a damaged file aside. Check does the same unless it was done since the process
	// began.
	Verify(ctx context.Context, digest string) error
	Check(ctx context.Context, digest string) error
	// Mark, Unmark and Marked remember who uploaded which blob, across restarts. A mark is deleted with its blob, and a
	// mark whose blob never came is deleted at the next start.
	Mark(digest string, u Upload) error
	Unmark(digest string) error
	Marked() map[string]Upload
}

// Peers speaks to other masters by node id.
type Peers interface {
	// Push sends a blob, and who uploaded it; nil means that it is on the peer's disk, fsynced.
	Push(ctx context.Context, node, digest, by string, size int64, open func() (io.ReadCloser, error)) error
	// Missing asks which of the digests the peer lacks; those that it has count as confirmed there.
	Missing(ctx context.Context, node string, digests []string) ([]string, error)
	// Fetch streams a blob from the peer.
	Fetch(ctx context.Context, node, digest string) (io.ReadCloser, error)
}

// Membership is the latest configuration of the cluster.
type Membership interface {
	Self() string
	// Configuration returns its index, the ids of the voters and those of all other servers.
	Configuration() (index uint64, voters, others []string)
}

// Names is the blobs that the catalog's rows name on this node.
type Names interface {
	Named(digest string) bool
	Digests() iter.Seq[string]
}

// Config is what a Keeper needs.
type Config struct {
	Disk       Disk
	Peers      Peers
	Membership Membership
	Names      Names
	MaxBytes   int64 // a larger blob is refused
	MaxUnnamed int64 // how many uploaded bytes that no row names one caller may have; 0: no limit
	Logger     *slog.Logger
	// Keep is how long a blob that no row names is kept; 0 means 24 h.
	Keep time.Duration
	// Look is how often this node checks whether it has every named blob; 0 means 5 min.
	Look time.Duration
	// Stall is how long a push or a fetch may stand still; 0 means 30 s.
	Stall time.Duration
}

// Keeper is one node's part in keeping blobs.
type Keeper struct {
	cfg Config
	log *slog.Logger

	background sync.WaitGroup
	fetches    singleflight.Group // by digest

	mu        sync.Mutex
	fresh     map[string]confirmation
	missing   int
	damaged   int // found damaged since the start, whether or not they have been repaired
	nextScrub chan struct{}
	barrier   bool            // this node has caught up since its start
	keepUntil time.Time       // nothing is deleted before
	runCtx    context.Context // of Run: transfers that outlive their call end with it

	collecting sync.Mutex
	unnamed    map[string]time.Time // under collecting

	uploading uploading
}

type confirmation struct {
	index uint64
	at    time.Time
}

// New makes a Keeper.
func New(cfg Config) *Keeper {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Keep == 0 {
		cfg.Keep = 24 * time.Hour
	}
	if cfg.Look == 0 {
		cfg.Look = 5 * time.Minute
	}
	if cfg.Stall == 0 {
		cfg.Stall = 30 * time.Second
	}
	return &Keeper{
		cfg: cfg, log: cfg.Logger.With(slog.String(logkey.Component, "blobs")),
		fresh: map[string]confirmation{}, nextScrub: make(chan struct{}, 1),
		unnamed: map[string]time.Time{}, runCtx: context.Background(),
		uploading: uploading{bytes: map[string]int64{}, calls: map[string]int{}},
	}
}

// Store writes a blob to a majority of the voters and returns its digest and size. A blob larger than limit (or than
// Config.MaxBytes) is refused by the disk.
func (k *Keeper) Store(ctx context.Context, r io.Reader, limit int64) (string, int64, error) {
	if k.cfg.MaxBytes > 0 && (limit <= 0 || limit > k.cfg.MaxBytes) {
		limit = k.cfg.MaxBytes
	}
	digest, size, err := k.cfg.Disk.Create(ctx, r, limit)
	if err != nil {
		return "", 0, err
	}
	return digest, size, k.Ensure(ctx, digest)
}

// Put is Store for a blob whose digest the sender names.
func (k *Keeper) Put(ctx context.Context, digest string, r io.Reader) (int64, error) {
	size, err := k.cfg.Disk.Put(ctx, digest, r, k.cfg.MaxBytes)
	if err != nil {
		return 0, err
	}
	return size, k.Ensure(ctx, digest)
}

// Ensure returns once a majority of the voters of the latest configuration holds the blob. If that was confirmed within
// the last ten minutes under the same configuration, it does not ask again.
func (k *Keeper) Ensure(ctx context.Context, digest string) error {
	index, voters, others := k.cfg.Membership.Configuration()
	k.mu.Lock()
	c, ok := k.fresh[digest]
	k.mu.Unlock()
	if ok && c.index == index && time.Since(c.at) < confirmed {
		return nil
	}
	b, err := k.open(ctx, digest)
	if err != nil {
		return err
	}
	b.Close()
	if err := k.spread(ctx, digest, voters, others); err != nil {
		return err
	}
	k.mu.Lock()
	for d, old := range k.fresh { // the map holds ten minutes of deployments
		if time.Since(old.at) >= confirmed {
			delete(k.fresh, d)
		}
	}
	k.fresh[digest] = confirmation{index, time.Now()}
	k.mu.Unlock()
	return nil
}

// Confirm is Ensure, and returns the size of the blob.
func (k *Keeper) Confirm(ctx context.Context, digest string) (int64, error) {
	if err := k.Ensure(ctx, digest); err != nil {
		return 0, err
	}
	b, err := k.Open(ctx, digest)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	return b.Size(), nil
}

// spread pushes a blob to every other server at once and returns when a majority has it. The other pushes go on in the
// background.
func (k *Keeper) spread(ctx context.Context, digest string, voters, others []string) error {
	self := k.cfg.Membership.Self()
	here, err := k.cfg.Disk.Touch(digest)
	if err != nil {
		return err
	}
	type answer struct {
		node string
		err  error
	}
	answers := make(chan answer, len(voters))
	have, asked := 0, 0
	push := func(node string, report bool) {
		k.background.Add(1)
		go func() {
			defer k.background.Done()
			err := k.push(node, digest)
			if err != nil {
				k.log.LogAttrs(ctx, slog.LevelWarn, "blob not pushed; the scrub of that master fetches it",
					slog.String(logkey.Blob, digest), slog.String(logkey.MasterID, node), slog.Any(logkey.Err, err))
			}
			if report {
				answers <- answer{node, err}
			}
		}()
	}
	for _, node := range voters {
		if node == self {
			if here { // it may have been found damaged meanwhile
				have++
			}
			continue
		}
		asked++
		push(node, true)
	}
	for _, node := range others {
		if node != self {
			push(node, false)
		}
	}
	need := len(voters)/2 + 1
	var errs []error
	for have < need && asked > 0 {
		select {
		case a := <-answers:
			asked--
			if a.err != nil {
				errs = append(errs, fmt.Errorf("master %s: %w", a.node, a.err))
			} else {
				have++
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if have < need {
		return fmt.Errorf("%w: %d of %d have it, %d are needed: %w",
			command.ErrNoMajority, have, len(voters), need, errors.Join(errs...))
	}
	return nil
}

func (k *Keeper) push(node, digest string) (err error) {
	ctx, t, end := k.begin()
	defer func() { err = end(err) }()
	missing, err := k.cfg.Peers.Missing(ctx, node, []string{digest})
	if err != nil || len(missing) == 0 {
		return err
	}
	b, err := k.Open(ctx, digest)
	if err != nil {
		return err
	}
	size := b.Size()
	b.Close()
	return k.cfg.Peers.Push(ctx, node, digest, k.cfg.Disk.Marked()[digest].By, size, func() (io.ReadCloser, error) {
		b, err := k.Open(ctx, digest)
		if err != nil {
			return nil, err
		}
		return t.wrap(b), nil
	})
}

// Open opens a blob that has been verified. A blob that this node lacks, or whose file is damaged, is fetched from a
// holder and kept. Calls for the same blob share the fetch, and a caller that gives up does not end it for the others.
// ctx is for the reading too: if a blob turns out to be damaged while it is read, it is fetched anew and read on,
// unless ctx has ended.
func (k *Keeper) Open(ctx context.Context, digest string) (Blob, error) {
	b, err := k.open(ctx, digest)
	if err != nil {
		return nil, err
	}
	return &lasting{Blob: b, k: k, ctx: ctx, digest: digest}, nil
}

func (k *Keeper) open(ctx context.Context, digest string) (Blob, error) {
	if k.cfg.Disk.Has(digest) {
		if err := k.cfg.Disk.Check(ctx, digest); ctx.Err() != nil {
			return nil, ctx.Err() // the check itself may have succeeded
		} else if err == nil {
			if b, err := k.cfg.Disk.Open(digest); err == nil {
				return b, nil
			}
		}
	}
	fetched := k.fetches.DoChan(digest, func() (any, error) { return nil, k.fetch(digest) })
	select {
	case f := <-fetched:
		if f.Err != nil {
			return nil, f.Err
		}
		return k.cfg.Disk.Open(digest)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fetch fetches a blob from the first member that has it.
func (k *Keeper) fetch(digest string) error {
	k.background.Add(1)
	defer k.background.Done()
	_, voters, others := k.cfg.Membership.Configuration()
	errs := []error{fmt.Errorf("%w: %s", command.ErrNoBlob, digest)}
	for _, node := range slices.Concat(voters, others) {
		if node == k.cfg.Membership.Self() {
			continue
		}
		err := func() (err error) {
			ctx, t, end := k.begin()
			defer func() { err = end(err) }()
			r, err := k.cfg.Peers.Fetch(ctx, node, digest)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = k.cfg.Disk.Put(ctx, digest, t.wrap(r), 0)
			return err
		}()
		if err == nil {
			k.log.LogAttrs(context.Background(), slog.LevelInfo, "blob fetched", slog.String(logkey.Blob, digest),
				slog.String(logkey.MasterID, node))
			return nil
		}
		if k.stopped() {
			return fmt.Errorf("%w: %s", errStopped, digest)
		}
		errs = append(errs, fmt.Errorf("master %s: %w", node, err))
	}
	return errors.Join(errs...)
}
