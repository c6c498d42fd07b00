package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// healthFile lies in a worker's data directory: a worker has no port that could be asked.
const healthFile = "health.json"

// health is how a worker was when it last looked.
type health struct {
	PID     int       `json:"pid"`
	Time    time.Time `json:"time"`
	Waiting string    `json:"waiting"` // "" when it exchanges with the masters
}

// healthAge is how old a health file may be: some looks may have been late.
const healthAge = 4 * lookInterval

// WriteHealth writes how the worker of a data directory is. It is written anew at every look, so it is not fsynced.
func WriteHealth(dir, waiting string) error {
	return writeHealth(dir, health{PID: os.Getpid(), Time: time.Now(), Waiting: waiting})
}

func writeHealth(dir string, h health) error {
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, healthFile)
	next := path + ".new"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// RemoveHealth removes the file when the worker ends.
func RemoveHealth(dir string) { _ = os.Remove(filepath.Join(dir, healthFile)) }

// Health is an error when the worker of a data directory does not work with the masters.
func Health(dir string, now time.Time) error {
	path := filepath.Join(dir, healthFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no worker runs in %s", dir)
	} else if err != nil {
		return err
	}
	var h health
	if err := json.Unmarshal(raw, &h); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if age := now.Sub(h.Time); age > healthAge {
		return fmt.Errorf("the worker of %s (pid %d) has said nothing for %v", dir, h.PID, age.Round(time.Second))
	}
	if h.Waiting != "" {
		return errors.New(h.Waiting)
	}
	return nil
}
