package pki

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"

	"scaleout/fsm/logkey"
)

// keyRingFile is the name of the key ring in a data directory. Its mode is 0600.
const keyRingFile = "keyring.json"

// KeyRingFile is the key ring of one master, which takes over the keys of other masters and keeps them in a file.
type KeyRingFile struct {
	*KeyRing
	path  string
	log   *slog.Logger
	merge sync.Mutex
}

// OpenKeyRingFile opens the key ring of a data directory. The first start imports the file that came with the
// certificate. Later starts take over the keys that only that file has, so that a new key can be distributed with it.
func OpenKeyRingFile(dir, importFile string, log *slog.Logger) (*KeyRingFile, error) {
	r := &KeyRingFile{path: filepath.Join(dir, keyRingFile), log: log}
	own, err := LoadKeyRing(r.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r.KeyRing = own
	if importFile == "" {
		if own == nil {
			return nil, fmt.Errorf("there is no key ring in %s yet, and KeyRingFile names none to import", dir)
		}
		return r, nil
	}
	given, err := LoadKeyRing(importFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && own != nil:
		return r, nil // imported long ago
	case err != nil:
		return nil, fmt.Errorf("KeyRingFile: %w", err)
	case own == nil:
		r.KeyRing = given
		return r, given.Save(r.path)
	}
	changed, err := own.Merge(given)
	if err != nil {
		return nil, fmt.Errorf("KeyRingFile %s: %w", importFile, err)
	}
	if changed {
		return r, own.Save(r.path)
	}
	return r, nil
}

// Marshal returns the key ring as other masters take it over.
func (r *KeyRingFile) Marshal() ([]byte, error) { return r.KeyRing.MarshalJSON() }

// Merge takes over the keys of another ring. It uses none that it could not save.
func (r *KeyRingFile) Merge(raw []byte) error {
	var other KeyRing
	if err := json.Unmarshal(raw, &other); err != nil {
		return err
	}
	r.merge.Lock()
	defer r.merge.Unlock()
	// Nothing may be encrypted with a key that is not on disk.
	var next KeyRing
	if _, err := next.Merge(r.KeyRing); err != nil {
		return err
	}
	changed, err := next.Merge(&other)
	if err != nil || !changed {
		return err
	}
	if err := next.Save(r.path); err != nil {
		return err
	}
	_, err = r.KeyRing.Merge(&next)
	r.log.LogAttrs(context.Background(), slog.LevelInfo, "new keys are in this master's key ring",
		slog.Int(logkey.Keys, next.Len()))
	return err
}
