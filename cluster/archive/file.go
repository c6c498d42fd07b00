package archive

import (
	"fmt"
	"io"
	"os"

	"scaleout/store/file"
)

// WriteFile writes an archive to a file of mode 0600 and replaces a file of that name. The new file gets the name when
// it has been verified, and is durable when WriteFile returns nil.
func WriteFile(path string, save func(*os.File) error) error {
	return file.WriteWith(path, 0o600, func(f *os.File) error {
		if err := save(f); err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := Verify(f); err != nil {
			return fmt.Errorf("the backup was not written completely: %w", err)
		}
		return nil
	})
}
