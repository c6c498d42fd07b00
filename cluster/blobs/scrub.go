package blobs

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"scaleout/fsm/logkey"
)

// Run scrubs and collects until ctx ends, then waits for everything that still runs. caughtUp is closed once this node
// has passed a barrier since its start; nothing is deleted before.
func (k *Keeper) Run(ctx context.Context, caughtUp <-chan struct{}) error {
	k.mu.Lock()
	k.runCtx = ctx
	k.mu.Unlock()
	defer k.background.Wait()
	select {
	case <-caughtUp:
	case <-ctx.Done():
		return nil
	}
	k.mu.Lock()
	k.barrier = true
	k.mu.Unlock()
	const day = 24 * time.Hour
	timer := time.NewTimer(k.cfg.Look)
	defer timer.Stop()
	var verified time.Time
	for {
		verify := time.Since(verified) >= day
		k.Scrub(ctx, verify)
		if verify {
			verified = time.Now()
			k.Collect()
		}
		// A node that was partitioned during the push has the reference (from Raft) but not the blob; only this scrub
		// finds out. A blob whose holder was dead is tried again soon.
		wait := k.cfg.Look
		if k.Missing() > 0 {
			wait = min(wait, 10*time.Second)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-k.nextScrub:
		}
	}
}

// Restored notes that the state came from a snapshot. Rows may name blobs that this node lacks, and the log entries
// that follow the snapshot may name blobs that no row names yet.
func (k *Keeper) Restored() {
	k.mu.Lock()
	k.keepUntil = time.Now().Add(k.cfg.Keep)
	k.mu.Unlock()
	k.notify()
}

// Scrub fetches the blobs that a row names and this node lacks. With verify it also reads every named blob once: the
// disk sets a damaged file aside, and the blob is fetched again.
func (k *Keeper) Scrub(ctx context.Context, verify bool) {
	k.tidy()
	missing := 0
	for digest := range k.cfg.Names.Digests() {
		if ctx.Err() != nil {
			return
		}
		if k.cfg.Disk.Has(digest) {
			if !verify {
				continue
			}
			if err := k.cfg.Disk.Verify(ctx, digest); err == nil || ctx.Err() != nil {
				continue
			}
		}
		b, err := k.Open(ctx, digest)
		if err != nil {
			missing++
			k.log.LogAttrs(ctx, slog.LevelWarn, "blob missing here", slog.String(logkey.Blob, digest), slog.Any(logkey.Err, err))
			continue
		}
		b.Close()
	}
	k.mu.Lock()
	k.missing = missing
	k.mu.Unlock()
}

// Missing returns how many named blobs the last scrub could not find.
func (k *Keeper) Missing() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.missing
}

// Lacking returns which named blobs this node does not hold now.
func (k *Keeper) Lacking() []string {
	var out []string
	for digest := range k.cfg.Names.Digests() {
		if !k.cfg.Disk.Has(digest) {
			out = append(out, digest)
		}
	}
	return out
}

// Collect deletes local blobs that were not written or confirmed within Config.Keep, and that no row has named in that
// time as far as this node has observed.
func (k *Keeper) Collect() (deleted int) {
	k.mu.Lock()
	allowed := k.barrier && time.Now().After(k.keepUntil)
	k.mu.Unlock()
	if !allowed {
		return 0
	}
	k.collecting.Lock()
	defer k.collecting.Unlock()
	now := time.Now()
	seen := map[string]time.Time{}
	var old []string
	err := k.cfg.Disk.Walk(func(digest string, _ int64, _ time.Time) error {
		if k.cfg.Names.Named(digest) {
			return nil
		}
		since, ok := k.unnamed[digest]
		if !ok {
			since = now
		}
		seen[digest] = since
		if now.Sub(since) >= k.cfg.Keep {
			old = append(old, digest)
		}
		return nil
	})
	if err != nil {
		k.log.LogAttrs(context.Background(), slog.LevelWarn, "blobs not listed", slog.Any(logkey.Err, err))
		return 0
	}
	k.unnamed = seen
	for _, digest := range old {
		ok, err := k.cfg.Disk.Delete(digest, now.Add(-k.cfg.Keep))
		if err != nil {
			k.log.LogAttrs(context.Background(), slog.LevelWarn, "blob not deleted", slog.String(logkey.Blob, digest),
				slog.Any(logkey.Err, err))
		} else if ok {
			deleted++
			delete(k.unnamed, digest)
			k.log.LogAttrs(context.Background(), slog.LevelInfo, "blob deleted: nothing names it",
				slog.String(logkey.Blob, digest))
		}
	}
	return deleted
}

// Holds checks that a node holds every blob that is named now, and pushes those that it lacks. A non-voter is promoted
// only after Holds has returned nil.
func (k *Keeper) Holds(ctx context.Context, node string) error {
	var batch []string
	check := func() error {
		missing, err := k.cfg.Peers.Missing(ctx, node, batch)
		if err != nil {
			return err
		}
		batch = batch[:0]
		for _, digest := range missing {
			b, err := k.Open(ctx, digest) // this node may have to fetch the blob itself first
			if err != nil && k.gone(ctx, digest) {
				k.log.LogAttrs(ctx, slog.LevelWarn, "blob on no master; a new master does without it too",
					slog.String(logkey.Blob, digest), slog.String(logkey.MasterID, node))
				continue
			}
			if err != nil {
				return err
			}
			b.Close()
			if err := k.push(node, digest); err != nil {
				return fmt.Errorf("push blob %s: %w", digest, err)
			}
		}
		return nil
	}
	for digest := range k.cfg.Names.Digests() {
		if batch = append(batch, digest); len(batch) == maxAsked {
			if err := check(); err != nil {
				return err
			}
		}
	}
	if len(batch) > 0 {
		return check()
	}
	return nil
}

// gone reports whether every member of the configuration answers that it lacks the blob, as after a recovery that lost
// it: then it would be in vain to wait for it.
func (k *Keeper) gone(ctx context.Context, digest string) bool {
	_, voters, others := k.cfg.Membership.Configuration()
	for _, node := range slices.Concat(voters, others) {
		if node == k.cfg.Membership.Self() {
			if k.cfg.Disk.Has(digest) {
				return false
			}
			continue
		}
		if lacks, err := k.cfg.Peers.Missing(ctx, node, []string{digest}); err != nil || len(lacks) == 0 {
			return false
		}
	}
	return true
}

// CheckRemoval returns an error that names a blob which would be lost, or held by too few, without the node. A node
// that is gone may be removed even if that leaves too few copies: they are made again afterwards.
func (k *Keeper) CheckRemoval(ctx context.Context, node string, gone bool) error {
	few, none := k.Without(ctx, node)
	switch {
	case gone && len(none) > 0:
		return fmt.Errorf("%d blobs would be held by no master that answers, %s among them; where its disk is "+
			"lost for good, 'scaleout cluster remove --force' gives them up", len(none), none[0])
	case !gone && len(few) > 0:
		return fmt.Errorf("%d blobs would be held by fewer than a majority of the masters that remain, %s among them; "+
			"those that lack one look for it every few minutes", len(few), few[0])
	}
	return nil
}

// Without returns the named blobs that less than a majority of the remaining voters would hold without the node, and
// those of them that no remaining voter would hold. A master that does not answer counts as holding nothing.
func (k *Keeper) Without(ctx context.Context, node string) (few, none []string) {
	_, voters, _ := k.cfg.Membership.Configuration()
	var all []string
	for digest := range k.cfg.Names.Digests() {
		all = append(all, digest)
	}
	holders := map[string]int{}
	remaining := 0
	for _, v := range voters {
		if v == node {
			continue
		}
		remaining++
		missing := map[string]bool{}
		if v == k.cfg.Membership.Self() {
			for _, digest := range all {
				missing[digest] = !k.cfg.Disk.Has(digest)
			}
		} else {
			for at := 0; at < len(all); at += maxAsked {
				part := all[at:min(at+maxAsked, len(all))]
				lacks, err := k.cfg.Peers.Missing(ctx, v, part)
				if err != nil {
					lacks = part
				}
				for _, digest := range lacks {
					missing[digest] = true
				}
			}
		}
		for _, digest := range all {
			if !missing[digest] {
				holders[digest]++
			}
		}
	}
	for _, digest := range all {
		if holders[digest] < remaining/2+1 {
			few = append(few, digest)
		}
		if holders[digest] == 0 {
			none = append(none, digest)
		}
	}
	return few, none
}
