package ispac

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	ssisSpace = "www.microsoft.com/SqlServer/SSIS"
	xmlSpace  = "http://www.w3.org/XML/1998/namespace"

	// maxDepth of elements; the manifest needs seven.
	maxDepth = 64
)

// document reads one XML text as a stream of elements, so that memory follows
// what is kept and not what is sent. It knows neither document types nor
// encodings other than UTF-8.
type document struct {
	part  string
	dec   *xml.Decoder
	depth int
	key   *projectKey // nil without a password
}

// element is an element whose start has been read.
type element struct {
	doc   *document
	start xml.StartElement
}

// openDocument returns the root element of the text, decrypted if need be.
func openDocument(part string, text []byte, key *projectKey) (element, error) {
	root, err := rootOf(&document{part: part, key: key}, text)
	if err != nil {
		return element{}, err
	}
	return root.opened()
}

func rootOf(d *document, text []byte) (element, error) {
	text, err := utf8Text(text)
	if err != nil {
		return element{}, badPart(d.part, err.Error())
	}
	d.dec = xml.NewDecoder(bytes.NewReader(text))
	d.dec.CharsetReader = func(label string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("it declares the encoding %s; only UTF-8 is read", clip(label))
	}
	for {
		tok, err := d.next()
		if err != nil {
			return element{}, err
		}
		if start, ok := tok.(xml.StartElement); ok {
			return element{d, start}, nil
		}
	}
}

// utf8Text strips a byte order mark and refuses those of other encodings.
func utf8Text(text []byte) ([]byte, error) {
	if rest, ok := bytes.CutPrefix(text, []byte("\xEF\xBB\xBF")); ok {
		return rest, nil
	}
	for _, bom := range []string{"\xFE\xFF", "\xFF\xFE", "\x00\x00\xFE\xFF", "\x00<", "<\x00"} {
		if bytes.HasPrefix(text, []byte(bom)) {
			return nil, errors.New("it is in UTF-16 or UTF-32; only UTF-8 is read")
		}
	}
	return text, nil
}

// next returns the next token; at the end of the text it fails.
func (d *document) next() (xml.Token, error) {
	tok, err := d.dec.Token()
	if err != nil {
		var syntax *xml.SyntaxError
		switch {
		case errors.Is(err, io.EOF):
			return nil, badPart(d.part, "it ends before its root element does")
		case errors.As(err, &syntax):
			return nil, badPart(d.part, fmt.Sprintf("line %d is not well-formed XML: %s", syntax.Line, syntax.Msg))
		}
		line, _ := d.dec.InputPos()
		return nil, badPart(d.part, fmt.Sprintf("line %d: %v", line, err))
	}
	switch tok.(type) {
	case xml.StartElement:
		if d.depth++; d.depth > maxDepth {
			return nil, d.bad("elements are nested more than %d deep", maxDepth)
		}
	case xml.EndElement:
		d.depth--
	case xml.Directive:
		return nil, d.bad("a document type declaration is refused: it can define entities")
	}
	return tok, nil
}

// bad makes an error that tells the line.
func (d *document) bad(format string, args ...any) *PartError {
	line, _ := d.dec.InputPos()
	return badPart(d.part, fmt.Sprintf("line %d: ", line)+fmt.Sprintf(format, args...))
}

// end checks that nothing but blanks and comments follows the root element.
func (d *document) end() error {
	for {
		tok, err := d.dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return d.bad("after the root element: %v", err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			return d.bad("a second root element")
		case xml.CharData:
			if len(bytes.TrimSpace(tok)) > 0 {
				return d.bad("text after the root element")
			}
		case xml.Directive:
			return d.bad("a document type declaration is refused: it can define entities")
		}
	}
}

// name returns the local name, or "" for an element of another namespace.
func (e element) name() string {
	if e.start.Name.Space != ssisSpace {
		return ""
	}
	return e.start.Name.Local
}

func (e element) attr(name string) (string, bool) {
	for _, a := range e.start.Attr {
		if a.Name.Local == name && a.Name.Space == ssisSpace {
			return a.Value, true
		}
	}
	return "", false
}

func (e element) keepsSpace() bool {
	for _, a := range e.start.Attr {
		if a.Name.Local == "space" && a.Name.Space == xmlSpace {
			return a.Value == "preserve"
		}
	}
	return false
}

// children calls visit for each child element of the SSIS namespace, decrypted
// if need be, and leaves e read to its end. visit need not read what it gets.
func (e element) children(visit func(element) error) error {
	inside := e.doc.depth
	for {
		tok, err := e.doc.next()
		if err != nil {
			return err
		}
		switch tok := tok.(type) {
		case xml.EndElement:
			return nil
		case xml.CharData:
			if len(bytes.TrimSpace(tok)) > 0 {
				return e.doc.bad("text in %s, which holds elements only", clip(e.start.Name.Local))
			}
		case xml.StartElement:
			child := element{e.doc, tok}
			if child.name() != "" {
				if child.name() != "Property" { // a property's reader decides for itself
					if child, err = child.opened(); err != nil {
						return err
					}
				}
				if err := visit(child); err != nil {
					return err
				}
			}
			for e.doc.depth > inside {
				if _, err := e.doc.next(); err != nil {
					return err
				}
			}
		}
	}
}

// text returns the element's text and leaves it read to its end. Text that is
// all blank means none, unless the element says that space is to be kept.
func (e element) text() (string, error) {
	var b strings.Builder
	for {
		tok, err := e.doc.next()
		if err != nil {
			return "", err
		}
		switch tok := tok.(type) {
		case xml.CharData:
			b.Write(tok)
		case xml.StartElement:
			return "", e.doc.bad("an element in %s, which holds text only", clip(e.start.Name.Local))
		case xml.EndElement:
			s := b.String()
			if !e.keepsSpace() && blank(s) {
				return "", nil
			}
			return s, nil
		}
	}
}

// blank reports whether s is nothing but what XML calls white space.
func blank(s string) bool { return strings.Trim(s, " \t\r\n") == "" }

// label is what the element is called in messages.
func (e element) label() string {
	if name, ok := e.attr("Name"); ok {
		return e.start.Name.Local + " " + clip(name)
	}
	return e.start.Name.Local
}

func (e element) sealed() bool {
	_, ok := e.attr("IV")
	return ok
}

// opened returns e itself, or what it decrypts to.
func (e element) opened() (element, error) {
	if e.sealed() {
		return e.unseal()
	}
	if flag, _ := e.attr("Sensitive"); flag == "1" && e.name() != "Property" {
		return element{}, &PartError{Part: e.doc.part, Err: ErrUserKey,
			Detail: fmt.Sprintf("%s is encrypted for the Windows user who saved the project; save it with a password or "+
				"without sensitive values", e.name())}
	}
	return e, nil
}

// unseal reads e to its end and returns the element that its text encrypts: a
// whole element, which has e's name.
func (e element) unseal() (element, error) {
	if e.doc.key == nil {
		return element{}, &PartError{Part: e.doc.part, Err: ErrPasswordRequired,
			Detail: fmt.Sprintf("%s is encrypted with the project password, and none was given", e.label())}
	}
	ivText, _ := e.attr("IV")
	iv, err := base64.StdEncoding.DecodeString(ivText)
	if err != nil || len(iv) != 8 {
		return element{}, e.doc.bad("the IV of the encrypted %s is not 8 bytes in base64", e.label())
	}
	text, err := e.text()
	if err != nil {
		return element{}, err
	}
	sealed, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return element{}, e.doc.bad("the encrypted %s is not in base64", e.label())
	}
	plain, err := e.doc.key.decrypt(iv, sealed)
	if err == nil {
		var inner element
		inner, err = rootOf(&document{part: e.doc.part, key: e.doc.key, depth: e.doc.depth}, plain)
		if err == nil && inner.start.Name == e.start.Name {
			e.doc.key.verified = true
			return inner, nil
		}
	}
	// Deliberately without the cause: it could show pieces of what was sealed.
	if e.doc.key.verified {
		return element{}, e.doc.bad("the encrypted %s is damaged: it does not decrypt to such an element", e.label())
	}
	return element{}, &PartError{Part: e.doc.part, Err: ErrWrongPassword,
		Detail: "the project password is wrong: " + e.label() + " does not decrypt with it"}
}
