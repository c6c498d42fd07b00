package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"

	"scaleout/cluster/pki"
	"scaleout/fsm/command"
)

// ringFile is the key ring's file in the data directory, 0600.
const ringFile = "keyring.json"

// ring is this master's key ring: it seals and opens secrets, and takes up keys that other masters have.
type ring struct {
	*pki.KeyRing
	path  string
	log   *slog.Logger
	merge sync.Mutex
}

// openRing opens the data directory's ring. The first start imports the file that came with the certificate; later a
// key that is only in that file is taken up too, so that a rotated ring can be handed out the same way.
func openRing(dir, importFile string, log *slog.Logger) (*ring, error) {
	r := &ring{path: filepath.Join(dir, ringFile), log: log}
	own, err := pki.LoadKeyRing(r.path)
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
	given, err := pki.LoadKeyRing(importFile)
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

// Marshal implements cluster.KeyRing.
func (r *ring) Marshal() ([]byte, error) { return r.KeyRing.MarshalJSON() }

// Merge implements cluster.KeyRing.
func (r *ring) Merge(raw []byte) error {
	var other pki.KeyRing
	if err := json.Unmarshal(raw, &other); err != nil {
		return err
	}
	r.merge.Lock()
	defer r.merge.Unlock()
	// Nothing may be sealed with a key that is not on disk.
	var next pki.KeyRing
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
	r.log.Info("new keys are in this master's key ring", "keys", next.Len())
	return err
}

func (r *ring) seal(plaintext []byte, associated string) (*command.Sealed, error) {
	id, nonce, ciphertext, err := r.KeyRing.Seal(plaintext, []byte(associated))
	if err != nil {
		return nil, err
	}
	return &command.Sealed{KeyID: id, Nonce: nonce, Ciphertext: ciphertext}, nil
}

func (r *ring) open(s *command.Sealed, associated string) ([]byte, error) {
	return r.KeyRing.Open(s.KeyID, s.Nonce, s.Ciphertext, []byte(associated))
}
