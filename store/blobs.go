package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"scaleout/fsm/command"
	"scaleout/store/file"
)

const (
	incomingName   = "incoming"
	quarantineName = "quarantine"
	// keepQuarantined is how many damaged files are kept, for people who want to know why.
	keepQuarantined = 16
	copyChunk       = 128 << 10
	// unreadableFor is for how long a blob that the disk did not deliver counts as missing.
	unreadableFor = time.Minute
)

// Blobs are files named by the SHA-256 of their content, in lower-case hex: blobs/ab/abcd….
//
// A blob's touch time says when it was last written or confirmed here, and guards the blob from deletion.
// It is the file's modification time, made durable, so that it survives a restart. It is kept in memory too, with Go's
// monotonic clock, so that within one process a jump of the wall clock does not make a fresh blob look old.
type Blobs struct {
	path   string
	gate   *gate
	logger *slog.Logger

	// stripes serialise, per digest, everything that gives a blob its name, touches it or removes it.
	stripes [64]sync.Mutex

	mu      sync.Mutex
	touched map[string]time.Time
	// damaged holds the blobs that could not be set aside, for good (the zero time), and the blobs that the disk did not
	// deliver, with the time until which they count as missing. A good copy that is stored before takes a blob out.
	damaged map[string]time.Time

	outlines outlines                 // under mu
	checking map[string]chan struct{} // under mu: being verified, closed when that has ended
	onDamage func(digest string)
	uploads  map[string]Upload // under mu
}

func openBlobs(path string, g *gate, logger *slog.Logger) (*Blobs, error) {
	b := &Blobs{
		path: path, gate: g, logger: logger, touched: map[string]time.Time{}, damaged: map[string]time.Time{},
		outlines: outlines{known: map[string]*outline{}}, checking: map[string]chan struct{}{},
	}
	for _, name := range []string{incomingName, quarantineName, uploadsName} {
		if err := makeDir(filepath.Join(path, name)); err != nil {
			return nil, fmt.Errorf("blobs: %w", err)
		}
	}
	removeEntries(filepath.Join(path, incomingName), func(string) bool { return true })
	if err := b.openUploads(); err != nil {
		return nil, err
	}
	return b, b.syncNames()
}

// syncNames makes the names durable that a killed process may have given and not yet fsynced, because from now
// on these blobs count as here. Folders without such names cost next to nothing.
func (b *Blobs) syncNames() error {
	dirs, err := os.ReadDir(b.path)
	if err != nil {
		return fmt.Errorf("blobs: %w", err)
	}
	for _, dir := range dirs {
		if !dir.IsDir() {
			continue
		}
		if err := file.SyncDir(filepath.Join(b.path, dir.Name())); err != nil {
			return fmt.Errorf("blobs: %w", err)
		}
	}
	return onDisk(b.path, file.SyncDir(b.path))
}

// Put stores the content of r under digest, after it has verified that they belong together
// (command.ErrDigest); an empty digest is computed. A limit above 0 bounds the size in bytes (command.ErrBlobTooLarge).
// It returns the size once the blob is durable. A blob that is here already is touched; then r
// is read to its end and its content is ignored.
func (b *Blobs) Put(ctx context.Context, digest string, r io.Reader, limit int64) (size int64, err error) {
	if digest != "" {
		if err := checkDigest(digest); err != nil {
			return 0, err
		}
		if size, ok, err := b.touch(digest); err != nil {
			return 0, err
		} else if ok {
			return size, b.drain(ctx, digest, r, limit)
		}
	}
	_, size, err = b.receive(ctx, digest, r, limit)
	return size, err
}

// Create stores the content of r and returns its digest and size; see Put.
func (b *Blobs) Create(ctx context.Context, r io.Reader, limit int64) (digest string, size int64, err error) {
	return b.receive(ctx, "", r, limit)
}

// drain reads a sender to its end, because many senders do not look at an answer before they have sent
// everything. An error of the sender does not matter: the blob is here.
func (b *Blobs) drain(ctx context.Context, digest string, r io.Reader, limit int64) error {
	if _, err := b.copy(ctx, io.Discard, r, limit); err != nil && ctx.Err() != nil {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	return nil
}

func (b *Blobs) receive(ctx context.Context, want string, r io.Reader, limit int64) (
	digest string, size int64, err error) {
	if err := b.gate.check(); err != nil {
		return "", 0, fmt.Errorf("blob: %w", err)
	}
	f, err := os.CreateTemp(filepath.Join(b.path, incomingName), "")
	if err != nil {
		return "", 0, onDisk(b.path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	sums := newOutliner()
	size, err = b.copy(ctx, io.MultiWriter(diskWriter{f}, sums), r, limit)
	if err != nil {
		return "", 0, fmt.Errorf("blob %s: %w", want, err)
	}
	digest, outline := sums.finish()
	if want != "" && digest != want {
		return "", 0, fmt.Errorf("%w: content of %d bytes has SHA-256 %s, want %s",
			command.ErrDigest, size, digest, want)
	}
	if err := b.gate.check(); err != nil {
		return "", 0, fmt.Errorf("blob %s: %w", digest, err)
	}
	if err := f.Sync(); err != nil {
		return "", 0, onDisk(f.Name(), err)
	}
	if err := f.Close(); err != nil {
		return "", 0, onDisk(f.Name(), err)
	}
	if err := b.name(digest, f.Name()); err != nil {
		return "", 0, err
	}
	b.remember(digest, outline)
	return digest, size, nil
}

// name gives a complete file its durable name.
func (b *Blobs) name(digest, temp string) error {
	defer b.hold(digest)()
	if err := b.gate.check(); err != nil {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	path := b.file(digest)
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := b.place(temp, path, digest); err != nil {
		return onDisk(path, err)
	}
	b.mu.Lock()
	delete(b.damaged, digest)
	b.touched[digest] = time.Now()
	b.mu.Unlock()
	if err := b.gate.check(); err != nil {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	return nil
}

// place renames temp even over a blob that came meanwhile, because this copy has just been verified. Windows
// refuses that while somebody reads the other blob; then the other one is as good.
func (b *Blobs) place(temp, path, digest string) error {
	err := file.Rename(temp, path)
	if err == nil {
		return nil
	}
	there, serr := os.Stat(path)
	ours, terr := os.Stat(temp)
	if serr != nil || terr != nil || there.Size() != ours.Size() || b.isDamaged(digest) {
		return err
	}
	if _, err := touchFile(path, time.Now()); err != nil {
		return err
	}
	return os.Remove(temp)
}

// copy moves bytes from the network to the disk in pieces, so that a cancelled context, a
// freeze and the limit are noticed in the middle of a large file.
func (b *Blobs) copy(ctx context.Context, w io.Writer, r io.Reader, limit int64) (size int64, err error) {
	buf := make([]byte, copyChunk)
	for {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		if err := b.gate.check(); err != nil {
			return size, err
		}
		n, err := r.Read(buf)
		if size += int64(n); limit > 0 && size > limit {
			return size, fmt.Errorf("%w: more than the limit of %d bytes", command.ErrBlobTooLarge, limit)
		}
		if _, werr := w.Write(buf[:n]); werr != nil {
			return size, werr
		}
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, fmt.Errorf("after %d bytes: %w", size, err)
		}
	}
}

// diskWriter passes its errors through onDisk, which tells them from the sender's.
type diskWriter struct{ f *os.File }

func (w diskWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	return n, onDisk(w.f.Name(), err)
}

// Has reports whether the blob is here and not known to be damaged.
func (b *Blobs) Has(digest string) bool {
	_, _, err := b.Stat(digest)
	return err == nil
}

// Stat returns size and touch time, or ErrNotFound if the blob is not here.
func (b *Blobs) Stat(digest string) (size int64, touched time.Time, err error) {
	if err := checkDigest(digest); err != nil {
		return 0, time.Time{}, err
	}
	st, err := b.stat(digest)
	if err != nil {
		return 0, time.Time{}, err
	}
	return st.Size(), b.touchTime(digest, st), nil
}

func (b *Blobs) stat(digest string) (fs.FileInfo, error) {
	if b.isDamaged(digest) {
		return nil, fmt.Errorf("%w: %s (its file is damaged)", ErrNotFound, digest)
	}
	st, err := os.Stat(b.file(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, digest)
	}
	return st, err
}

func (b *Blobs) touchTime(digest string, st fs.FileInfo) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t, ok := b.touched[digest]; ok {
		return t
	}
	return st.ModTime()
}

// Touch marks the blob as confirmed now, and reports whether it is here. The mark is durable when Touch
// returns, because the majority that holds a blob is counted by such marks.
func (b *Blobs) Touch(digest string) (bool, error) {
	if err := checkDigest(digest); err != nil {
		return false, err
	}
	_, ok, err := b.touch(digest)
	return ok, err
}

func (b *Blobs) touch(digest string) (size int64, ok bool, err error) {
	defer b.hold(digest)()
	if err := b.gate.check(); err != nil {
		return 0, false, fmt.Errorf("blob %s: %w", digest, err)
	}
	if b.isDamaged(digest) {
		return 0, false, nil
	}
	now := time.Now()
	size, err = touchFile(b.file(digest), now)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, onDisk(b.file(digest), err)
	}
	b.mu.Lock()
	b.touched[digest] = now
	b.mu.Unlock()
	if err := b.gate.check(); err != nil {
		return 0, false, fmt.Errorf("blob %s: %w", digest, err)
	}
	return size, true, nil
}

func touchFile(path string, now time.Time) (size int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	st, err := f.Stat()
	if err == nil {
		size = st.Size()
		err = os.Chtimes(path, now, now)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return size, err
}

// Delete removes the blob unless it was touched at untouchedSince or later. It reports whether the blob was here and is
// gone. After a loss of power the blob may be back. untouchedSince should carry Go's monotonic clock, as a time from
// time.Now does, also through Add.
func (b *Blobs) Delete(digest string, untouchedSince time.Time) (bool, error) {
	if err := checkDigest(digest); err != nil {
		return false, err
	}
	defer b.hold(digest)()
	if err := b.gate.check(); err != nil {
		return false, fmt.Errorf("blob %s: %w", digest, err)
	}
	path := b.file(digest)
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("blob %s: %w", digest, err)
	}
	if !b.touchTime(digest, st).Before(untouchedSince) {
		return false, nil
	}
	if err := os.Remove(path); err != nil {
		return false, fmt.Errorf("blob %s: %w", digest, err)
	}
	b.mu.Lock()
	delete(b.touched, digest)
	delete(b.damaged, digest)
	b.outlines.drop(digest)
	_, marked := b.uploads[digest]
	b.mu.Unlock()
	if marked {
		return true, b.unmark(digest)
	}
	return true, nil
}

// Walk calls f for each blob, in order of digest, until f returns an error, and returns that error.
// f may delete blobs. Blobs that come or go meanwhile may be seen or not.
func (b *Blobs) Walk(f func(digest string, size int64, touched time.Time) error) error {
	dirs, err := os.ReadDir(b.path)
	if err != nil {
		return fmt.Errorf("blobs: %w", err)
	}
	for _, dir := range dirs {
		if !dir.IsDir() || len(dir.Name()) != 2 {
			continue
		}
		files, err := os.ReadDir(filepath.Join(b.path, dir.Name()))
		if err != nil {
			return fmt.Errorf("blobs: %w", err)
		}
		for _, entry := range files {
			digest := entry.Name()
			if checkDigest(digest) != nil || digest[:2] != dir.Name() {
				continue
			}
			size, touched, err := b.Stat(digest)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if err := f(digest, size, touched); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Blobs) file(digest string) string { return filepath.Join(b.path, digest[:2], digest) }

// hold takes the lock of a digest and returns the function that releases it.
func (b *Blobs) hold(digest string) (release func()) {
	n, _ := strconv.ParseUint(digest[:2], 16, 8) // checked before
	m := &b.stripes[n%uint64(len(b.stripes))]
	m.Lock()
	return m.Unlock
}

// settle waits until nothing holds the lock of a digest.
func (b *Blobs) settle() {
	for i := range b.stripes {
		b.stripes[i].Lock()
		defer b.stripes[i].Unlock()
	}
}

func (b *Blobs) isDamaged(digest string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, bad := b.damaged[digest]
	return bad && (until.IsZero() || time.Now().Before(until))
}

func checkDigest(digest string) error {
	ok := len(digest) == 2*sha256.Size
	for i := 0; ok && i < len(digest); i++ {
		c := digest[i]
		ok = '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
	}
	if !ok {
		return fmt.Errorf("%w: %.80q is not a SHA-256 in lower-case hex", command.ErrDigest, digest)
	}
	return nil
}
