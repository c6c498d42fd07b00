package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"scaleout/store/file"
)

const (
	documentsName = "documents"
	documentExt   = ".json"
)

var (
	documentName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

// envelope is a document on disk. The checksum covers the compact form of the value, so that
// a flipped bit that leaves the JSON valid is noticed too.
type envelope struct {
	CRC32C string          `json:"crc32c"`
	Value  json.RawMessage `json:"value"`
}

// Load reads the document that Save wrote under name into v. If there is none, found is false and v is untouched. A
// damaged document is ErrCorrupt.
func (d *Dir) Load(name string, v any) (found bool, err error) {
	path, err := d.documentPath(name)
	if err != nil {
		return false, err
	}
	d.documents.Lock()
	defer d.documents.Unlock()
	return readDocument(path, v)
}

// Save keeps v, as JSON, under name: lower-case letters, digits, '-' and '_', at
// most 64. When Save returns without an error, v survives a loss of power. When it fails, the
// document of that name holds what it held before, or v.
func (d *Dir) Save(name string, v any) error {
	path, err := d.documentPath(name)
	if err != nil {
		return err
	}
	d.documents.Lock()
	defer d.documents.Unlock()
	if err := d.gate.check(); err != nil {
		return fmt.Errorf("document %q: %w", name, err)
	}
	if err := writeDocument(path, v); err != nil {
		return err
	}
	if err := d.gate.check(); err != nil {
		return fmt.Errorf("document %q: %w", name, err)
	}
	return nil
}

func (d *Dir) documentPath(name string) (string, error) {
	if !documentName.MatchString(name) {
		return "", fmt.Errorf("document name %q: want 1 to 64 of a-z, 0-9, '-' and '_'", name)
	}
	return filepath.Join(d.path, documentsName, name+documentExt), nil
}

func readDocument(path string, v any) (found bool, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		return false, corrupt(path, "not a JSON document: "+err.Error())
	}
	sum, err := checksum(e.Value)
	if err != nil {
		return false, corrupt(path, err.Error())
	}
	if sum != e.CRC32C {
		return false, corrupt(path, fmt.Sprintf("checksum is %s, the file says %q", sum, e.CRC32C))
	}
	if err := json.Unmarshal(e.Value, v); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}

func writeDocument(path string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	sum, err := checksum(value)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	raw, err := json.MarshalIndent(envelope{CRC32C: sum, Value: value}, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return onDisk(path, file.Write(path, 0o600, append(raw, '\n')))
}

func checksum(value json.RawMessage) (string, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, value); err != nil {
		return "", fmt.Errorf("no value: %w", err)
	}
	return fmt.Sprintf("%08x", crc32.Checksum(compact.Bytes(), castagnoli)), nil
}
