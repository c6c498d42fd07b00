package backup

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"scaleout/cluster/archive"
	"scaleout/fsm/logkey"
	"scaleout/store/file"
)

// Schedule says when and where this master writes backups of its own. An empty folder means never.
type Schedule struct {
	Folder   string
	Interval time.Duration
	Retain   int    // how many backups of its own this master keeps
	KeyFile  string // encrypts the key ring; empty: the ring is left out
}

const (
	suffix     = ".tar"
	timeLayout = "20060102T150405Z"
	maxRetry   = 10 * time.Minute
)

// Run writes a backup of this master's state into the folder each interval and keeps the newest ones, until ctx ends.
// Every master does so for itself: backups must not depend on who leads, nor be lost with one machine. The newest file
// in the folder says when the next backup is due.
func (b *Backups) Run(ctx context.Context) error {
	b.removeSpooled(ctx)
	if b.cfg.Schedule.Folder == "" {
		return nil
	}
	select {
	case <-b.cfg.Node.CaughtUp():
	case <-ctx.Done():
		return nil
	}
	b.removeUnfinished(ctx)
	for wait(ctx, b.untilDue(time.Now())) {
		path, err := b.write(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			b.failures.Inc()
			b.log.LogAttrs(ctx, slog.LevelError, "scheduled backup failed; it is tried again",
				slog.String(logkey.Path, b.cfg.Schedule.Folder), slog.Any(logkey.Err, err))
			if !wait(ctx, min(b.cfg.Schedule.Interval, maxRetry)) {
				return nil
			}
			continue
		}
		b.log.LogAttrs(ctx, slog.LevelInfo, "scheduled backup written", slog.String(logkey.Path, path))
		b.prune(ctx)
	}
	return nil
}

// wait returns true when d has passed, and false when ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// untilDue returns how long it is until the next backup, and tells the metric of the last one. A backup of the future,
// from a time when the clock was ahead, does not put off the next one.
func (b *Backups) untilDue(now time.Time) time.Duration {
	for _, f := range slices.Backward(b.files()) {
		if age := now.Sub(f.at); age >= 0 {
			b.last.Set(float64(f.at.Unix()))
			return b.cfg.Schedule.Interval - age
		}
	}
	return 0
}

type written struct {
	path string
	at   time.Time
}

// files returns this master's backups in the folder, oldest first. The folder may be shared by all masters.
func (b *Backups) files() (list []written) {
	entries, err := os.ReadDir(b.cfg.Schedule.Folder) // by name, and so by time
	if err != nil {
		return nil // the folder does not exist yet
	}
	for _, e := range entries {
		if at, ok := b.parseName(e.Name()); ok {
			list = append(list, written{filepath.Join(b.cfg.Schedule.Folder, e.Name()), at})
		}
	}
	return list
}

// name returns the name of the backup that this master writes at a time.
func (b *Backups) name(at time.Time) string {
	return safeName(b.cfg.Master) + "-" + at.UTC().Format(timeLayout) + suffix
}

// parseName returns when this master wrote a backup of that name, and false if it is not a backup of this master.
func (b *Backups) parseName(name string) (at time.Time, own bool) {
	stamp, own := strings.CutPrefix(name, safeName(b.cfg.Master)+"-")
	stamp, finished := strings.CutSuffix(stamp, suffix)
	at, err := time.Parse(timeLayout, stamp)
	return at, own && finished && err == nil
}

// safeName replaces what a file name cannot hold.
func safeName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name)
}

// removeUnfinished removes the temporary files of this master, which a killed process leaves behind.
func (b *Backups) removeUnfinished(ctx context.Context) {
	entries, err := os.ReadDir(b.cfg.Schedule.Folder)
	if err != nil {
		return // the folder does not exist yet
	}
	for _, e := range entries {
		name, unfinished := file.Temporary(e.Name())
		if !unfinished {
			continue
		}
		if _, own := b.parseName(name); !own {
			continue
		}
		if err := os.Remove(filepath.Join(b.cfg.Schedule.Folder, e.Name())); err != nil {
			b.log.LogAttrs(ctx, slog.LevelWarn, "an unfinished backup could not be removed",
				slog.String(logkey.Path, e.Name()), slog.Any(logkey.Err, err))
		}
	}
}

// prune removes the oldest backups beyond those that are kept.
func (b *Backups) prune(ctx context.Context) {
	list := b.files()
	for _, f := range list[:max(0, len(list)-b.cfg.Schedule.Retain)] {
		if err := os.Remove(f.path); err != nil {
			b.log.LogAttrs(ctx, slog.LevelWarn, "an old backup could not be removed",
				slog.String(logkey.Path, f.path), slog.Any(logkey.Err, err))
		}
	}
}

// write writes one scheduled backup.
func (b *Backups) write(ctx context.Context) (path string, err error) {
	s := b.cfg.Schedule
	if err := file.MakeDir(s.Folder); err != nil {
		return "", err
	}
	o := Options{Blobs: true}
	if s.KeyFile != "" {
		secret, err := os.ReadFile(s.KeyFile)
		if err != nil {
			return "", fmt.Errorf("BackupKeyFile: %w", err)
		}
		o.Lock = archive.NewLock(archive.FromKeyFile)
		if o.Key, err = o.Lock.Key([]byte(strings.TrimSpace(string(secret)))); err != nil {
			return "", fmt.Errorf("BackupKeyFile: %w", err)
		}
	}
	path = filepath.Join(s.Folder, b.name(time.Now()))
	return path, archive.WriteFile(path, func(f *os.File) error { return b.Save(ctx, f, o) })
}
