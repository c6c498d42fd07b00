package blobs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// Damaged notes that this node's disk found a blob damaged, and fetches the blob from a holder at once. The disk calls
// it, and it does not wait for the fetch.
func (k *Keeper) Damaged(digest string) {
	k.mu.Lock()
	k.damaged++
	k.mu.Unlock()
	k.log.LogAttrs(context.Background(), slog.LevelError, "blob damaged on disk; fetching it again",
		slog.String(logkey.Blob, digest))
	fetched := k.fetches.DoChan(digest, func() (any, error) { return nil, k.fetch(digest) })
	k.background.Go(func() {
		if f := <-fetched; f.Err != nil {
			k.log.LogAttrs(context.Background(), slog.LevelWarn, "damaged blob not repaired; the scrub tries again",
				slog.String(logkey.Blob, digest), slog.Any(logkey.Err, f.Err))
			k.notify()
		}
	})
}

// DamagedSinceStart returns how many blobs were found damaged since this process began, whether or not they were
// repaired.
func (k *Keeper) DamagedSinceStart() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.damaged
}

// notify wakes the scrub.
func (k *Keeper) notify() {
	select {
	case k.nextScrub <- struct{}{}:
	default:
	}
}

// lasting is a blob that can be read on after damage of its file is found. The disk returns no wrong byte, and a digest
// names one content, so reading goes on in a fresh copy where it ended in the damaged one.
type lasting struct {
	Blob
	k      *Keeper
	ctx    context.Context
	digest string
	at     int64 // of Read, which one goroutine calls

	mu    sync.Mutex
	fresh Blob // read instead of the damaged one, once it is fetched
}

func (l *lasting) ReadAt(p []byte, off int64) (int, error) {
	b := l.current()
	n, err := b.ReadAt(p, off)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	b, rerr := l.renew(b)
	if rerr != nil {
		return n, err
	}
	more, err := b.ReadAt(p[n:], off+int64(n))
	return n + more, err
}

func (l *lasting) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := l.ReadAt(p, l.at)
	l.at += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (l *lasting) current() Blob {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fresh != nil {
		return l.fresh
	}
	return l.Blob
}

// renew opens a fresh copy in place of the one that failed, once.
func (l *lasting) renew(failed Blob) (Blob, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.fresh != nil && l.fresh != failed: // another reader was faster
		return l.fresh, nil
	case l.fresh != nil:
		return nil, command.ErrNoBlob
	}
	b, err := l.k.open(l.ctx, l.digest)
	if err != nil {
		return nil, err
	}
	l.fresh = b
	return b, nil
}

func (l *lasting) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.Blob.Close()
	if l.fresh != nil {
		if cerr := l.fresh.Close(); err == nil {
			err = cerr
		}
	}
	return err
}
