package ispac

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
)

// Write writes a project file the way Visual Studio's does: packages and
// connection managers in manifest order, then other files, Project.params, the
// manifest, and the content types last; names percent-encoded; a byte order
// mark in the content types only. It takes the bodies of packages, connection
// managers and files from open, under their plain names, and closes them.
//
// The same project and bodies give the same bytes. Read returns the same
// project, if p's parameters are in Read's order (declared ones, then "CM."
// ones) and its files are sorted.
//
// Write does not encrypt: p's level must be DontSaveSensitive, which excludes
// values of sensitive parameters, or ServerStorage, which keeps them in plain text.
// A part is held compressed in memory while it is written.
func Write(w io.Writer, p *Project, open func(part string) (io.ReadCloser, error)) error {
	if err := p.check(); err != nil {
		return err
	}
	if err := p.checkWritable(); err != nil {
		return err
	}
	manifest, err := p.manifest()
	if err != nil {
		return err
	}
	params, err := p.params()
	if err != nil {
		return err
	}
	bodies := make([]string, 0, len(p.Packages)+len(p.ConnectionManagers)+len(p.Files))
	for i := range p.Packages {
		bodies = append(bodies, p.Packages[i].Name)
	}
	bodies = append(bodies, p.ConnectionManagers...)
	bodies = append(bodies, p.Files...)

	zw := &zipWriter{zip: zip.NewWriter(w)}
	for _, name := range bodies {
		body, err := open(name)
		if err != nil {
			return &PartError{Part: name, Detail: "opening: " + err.Error(), Err: err}
		}
		err = zw.add(name, escapeName(name), body)
		if cerr := body.Close(); err == nil && cerr != nil {
			err = &PartError{Part: name, Detail: "closing: " + cerr.Error(), Err: cerr}
		}
		if err != nil {
			return err
		}
	}
	for _, own := range []struct {
		name string
		data []byte
	}{
		{paramsPart, params},
		{manifestPart, manifest},
		{contentTypesPart, contentTypes(append(bodies, paramsPart, manifestPart))},
	} {
		if err := zw.add(own.name, own.name, bytes.NewReader(own.data)); err != nil {
			return err
		}
	}
	if err := zw.zip.Close(); err != nil {
		return &PartError{Detail: "writing: " + err.Error(), Err: err}
	}
	return nil
}

// checkWritable refuses what the file would have to encrypt or could not say.
func (p *Project) checkWritable() error {
	if p.ProtectionLevel != DontSaveSensitive && p.ProtectionLevel != ServerStorage {
		return badPart(manifestPart, fmt.Sprintf("a project is written as %s or %s, not %s", DontSaveSensitive,
			ServerStorage, p.ProtectionLevel))
	}
	scope := func(part, where string, params []Parameter) error {
		for _, q := range params {
			switch {
			case !q.Type.Valid():
				return badPart(part, fmt.Sprintf("%s: parameter %s: the data type %d is not known", where, clip(q.Name),
					int(q.Type)))
			case q.HasValue && q.Sensitive && p.ProtectionLevel == DontSaveSensitive:
				return badPart(part, fmt.Sprintf("%s: the sensitive parameter %s has a value, which %s does not allow; "+
					"give it with the execution", where, clip(q.Name), DontSaveSensitive))
			case !q.HasValue:
				continue
			}
			if _, err := FormatValue(q.Type, q.Value); err != nil {
				if q.Sensitive {
					return badPart(part, fmt.Sprintf("%s: the value of the sensitive parameter %s is not a valid %s", where,
						clip(q.Name), q.Type))
				}
				return badPart(part, fmt.Sprintf("%s: parameter %s: %v", where, clip(q.Name), err))
			}
		}
		return nil
	}
	if err := scope(paramsPart, "the project", p.Parameters); err != nil {
		return err
	}
	for i := range p.Packages {
		pkg := &p.Packages[i]
		if pkg.ProtectionLevel < 0 || int(pkg.ProtectionLevel) >= len(protectionWords) {
			return badPart(manifestPart, fmt.Sprintf("package %s: the protection level %d is not one of 0 to 5", clip(pkg.Name),
				int(pkg.ProtectionLevel)))
		}
		if err := scope(manifestPart, "package "+clip(pkg.Name), pkg.Parameters); err != nil {
			return err
		}
	}
	return nil
}

// contentTypes gives every extension its media type, in order of appearance.
// The conventions know no type for a name without an extension: those get one
// by name.
func contentTypes(parts []string) []byte {
	var defaults, overrides strings.Builder
	var seen []string
	for _, name := range parts {
		e := strings.ToLower(ext(name))
		switch {
		case e == "":
			fmt.Fprintf(&overrides, `<Override PartName="/%s" ContentType="application/octet-stream" />`,
				xmlText(escapeName(name)))
		case !slices.Contains(seen, e):
			seen = append(seen, e)
			media := "application/octet-stream"
			if slices.Contains([]string{packageExt, connectionExt, ext(paramsPart), ext(manifestPart)}, e) {
				media = "text/xml"
			}
			fmt.Fprintf(&defaults, `<Default Extension="%s" ContentType="%s" />`, xmlText(escapeName(e[1:])), media)
		}
	}
	return []byte("\xEF\xBB\xBF" + `<?xml version="1.0" encoding="utf-8"?>` +
		`<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">` + defaults.String() +
		overrides.String() + `</Types>`)
}

func xmlText(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes all
	return b.String()
}

// zipWriter writes entries whose sizes stand before the data, as .NET does:
// some readers of project files cannot do without.
type zipWriter struct {
	zip     *zip.Writer
	buf     bytes.Buffer
	deflate *flate.Writer // kept from part to part: a new one takes most of a megabyte
}

func (z *zipWriter) add(part, entry string, body io.Reader) error {
	fail := func(err error) error {
		return &PartError{Part: part, Detail: "writing: " + err.Error(), Err: err}
	}
	z.buf.Reset()
	if z.deflate == nil {
		var err error
		if z.deflate, err = flate.NewWriter(&z.buf, flate.DefaultCompression); err != nil {
			return fail(err)
		}
	}
	z.deflate.Reset(&z.buf)
	sum := crc32.NewIEEE()
	n, err := io.Copy(io.MultiWriter(z.deflate, sum), body)
	if err != nil {
		return &PartError{Part: part, Detail: "reading: " + err.Error(), Err: err}
	}
	if err := z.deflate.Close(); err != nil {
		return fail(err)
	}
	header := &zip.FileHeader{
		Name: entry, Method: zip.Deflate, CRC32: sum.Sum32(),
		CompressedSize64: uint64(z.buf.Len()), UncompressedSize64: uint64(n),
	}
	// The first day that a zip can name: a clock would make equal files differ.
	//lint:ignore SA1019 CreateRaw writes this field and does not look at Modified.
	header.ModifiedDate = 1<<5 | 1
	w, err := z.zip.CreateRaw(header)
	if err != nil {
		return fail(err)
	}
	if _, err := w.Write(z.buf.Bytes()); err != nil {
		return fail(err)
	}
	return nil
}
