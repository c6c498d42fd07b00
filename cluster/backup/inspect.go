package backup

import (
	"fmt"
	"io"
	"slices"

	"scaleout/cluster/archive"
	"scaleout/fsm"
	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// Contents is what Inspect found.
type Contents struct {
	archive.Contents
	KeyRing []byte   // encrypted; nil if the backup has none
	Named   []string // digests of the blobs that the state names, in ascending order
	Absent  []string // those of them that the backup does not hold
}

// Inspect reads a whole backup and verifies it: the archive, the state in it, and that one belongs to the other. Errors
// wrap archive.ErrDamaged, archive.ErrNewerFormat, fsm.ErrSnapshot or fsm.ErrTooNew, or come from r.
func Inspect(r io.Reader) (c Contents, err error) {
	var reader *catalog.Reader
	held := map[string]bool{}
	c.Contents, err = archive.Read(r, func(e archive.Entry, content io.Reader) (err error) {
		switch e.Name {
		case archive.NameKeyRing:
			c.KeyRing, err = io.ReadAll(content)
		case archive.NameState:
			reader, err = fsm.Check(content, command.Level)
		default:
			digest, _ := e.Blob()
			held[digest] = true
		}
		return err
	})
	if err != nil {
		return c, err
	}
	m := c.Metadata
	if reader.Index() != m.Index || reader.ClusterID() != m.Cluster || reader.Level() != m.Level {
		return c, fmt.Errorf("%w: its metadata belong to another state than the one in it", archive.ErrDamaged)
	}
	c.Named = slices.Sorted(reader.Blobs())
	for _, digest := range c.Named {
		if held[digest] {
			continue
		}
		if _, listed := slices.BinarySearch(c.Missing, digest); m.Blobs && !listed {
			return c, fmt.Errorf("%w: it lacks the blob %s, and does not list it as missing", archive.ErrDamaged, digest)
		}
		c.Absent = append(c.Absent, digest)
	}
	return c, nil
}
