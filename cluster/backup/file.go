package backup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Partial follows a file's name, before something random, for as long as it is being written.
const Partial = ".partial-"

// WriteFile makes a file of what save writes: mode 0600, verified, durable, and under its name only then. It replaces
// what was there.
func WriteFile(path string, save func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+Partial)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // closed already when the last step failed
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := save(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, _, err := Verify(f); err != nil {
		return fmt.Errorf("what was written to %s is not whole: %w", f.Name(), err)
	}
	name := f.Name()
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(name, path); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync() // not possible everywhere
		_ = dir.Close()
	}
	return nil
}
