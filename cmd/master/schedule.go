package master

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/cluster/archive"
	"scaleout/httpapi"
	"scaleout/store/file"
)

// backupMetrics are of the scheduled backups.
type backupMetrics struct {
	last     prometheus.Gauge
	failures prometheus.Counter
}

func newBackupMetrics(r prometheus.Registerer) backupMetrics {
	b := backupMetrics{
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "scaleout_backup_last_success_timestamp_seconds", Help: "When this master wrote the newest of its scheduled backups; 0 without one.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scaleout_backup_failures_total", Help: "Scheduled backups of this master that failed.",
		}),
	}
	r.MustRegister(b.last, b.failures)
	return b
}

const (
	backupSuffix = ".tar"
	backupTime   = "20060102T150405Z"
)

// backups writes a backup of this master's own state into a folder each interval and keeps the newest ones. Every master
// does so for itself: a backup must not depend on who leads, and not be lost with one machine. The folder's newest file
// says when the next is due, so that restarts change nothing.
func (m *Master) backups(ctx context.Context) error {
	m.sweepSpool()
	if m.cfg.BackupFolder == "" {
		return nil
	}
	select {
	case <-m.node.CaughtUp():
	case <-ctx.Done():
		return nil
	}
	m.dropPartial()
	for {
		var wait time.Duration
		for _, b := range slices.Backward(m.ownBackups()) {
			if age := time.Since(b.at); age >= 0 { // one from a time when the clock was ahead must not put off the next
				m.backedUp.last.Set(float64(b.at.Unix()))
				wait = m.cfg.BackupInterval - age
				break
			}
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		path, err := m.backUp(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			m.backedUp.failures.Inc()
			m.log.Error("scheduled backup failed; it is tried again", "folder", m.cfg.BackupFolder, "err", err)
			timer.Reset(min(m.cfg.BackupInterval, 10*time.Minute))
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
			continue
		}
		m.log.Info("scheduled backup written", "path", path)
		m.prune()
	}
}

type ownBackup struct {
	path string
	at   time.Time
}

// ownBackups are this master's files in the folder, oldest first. The folder may be one for all masters.
func (m *Master) ownBackups() (list []ownBackup) {
	entries, err := os.ReadDir(m.cfg.BackupFolder) // by name, and so by time
	if err != nil {
		return nil // there is none yet
	}
	for _, e := range entries {
		if at, ok := m.written(e.Name()); ok {
			list = append(list, ownBackup{filepath.Join(m.cfg.BackupFolder, e.Name()), at})
		}
	}
	return list
}

// written is when this master wrote a backup of that name; false when it is not one of its own.
func (m *Master) written(name string) (at time.Time, own bool) {
	stamp, own := strings.CutPrefix(name, fileSafe(m.cfg.Name)+"-")
	stamp, finished := strings.CutSuffix(stamp, backupSuffix)
	at, err := time.Parse(backupTime, stamp)
	return at, own && finished && err == nil
}

// dropPartial removes what a master that was killed while it wrote a backup has left.
func (m *Master) dropPartial() {
	entries, err := os.ReadDir(m.cfg.BackupFolder)
	if err != nil {
		return // there is none yet
	}
	for _, e := range entries {
		name, unfinished := file.Temporary(e.Name())
		if !unfinished {
			continue
		}
		if _, own := m.written(name); !own {
			continue
		}
		if err := os.Remove(filepath.Join(m.cfg.BackupFolder, e.Name())); err != nil {
			m.log.Warn("a backup that was not finished could not be removed", "path", e.Name(), "err", err)
		}
	}
}

func fileSafe(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name)
}

// prune removes the oldest files beyond those to keep.
func (m *Master) prune() {
	list := m.ownBackups()
	for _, b := range list[:max(0, len(list)-m.cfg.BackupRetain)] {
		if err := os.Remove(b.path); err != nil {
			m.log.Warn("an old backup could not be removed", "path", b.path, "err", err)
		}
	}
}

// backUp writes one file, verifies it, and only then gives it its name.
func (m *Master) backUp(ctx context.Context) (path string, err error) {
	if err := os.MkdirAll(m.cfg.BackupFolder, 0o700); err != nil {
		return "", err
	}
	o := httpapi.SaveOptions{Blobs: true}
	if m.cfg.BackupKeyFile != "" {
		secret, err := os.ReadFile(m.cfg.BackupKeyFile)
		if err != nil {
			return "", fmt.Errorf("BackupKeyFile: %w", err)
		}
		lock := archive.NewLock(archive.FromKeyFile)
		if o.Key, err = lock.Key([]byte(strings.TrimSpace(string(secret)))); err != nil {
			return "", fmt.Errorf("BackupKeyFile: %w", err)
		}
		if o.Lock, err = json.Marshal(lock); err != nil {
			return "", err
		}
	}
	path = filepath.Join(m.cfg.BackupFolder, fileSafe(m.cfg.Name)+"-"+time.Now().UTC().Format(backupTime)+backupSuffix)
	return path, archive.WriteFile(path, func(f *os.File) error { return m.save(ctx, f, o) })
}
