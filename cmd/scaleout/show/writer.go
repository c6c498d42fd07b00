package show

import (
	"bytes"
	"io"
	"os"
	"sync"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// Writer is standard output or standard error. All output of all verbs goes through it, so that none can forget to make
// text from outside visible: on a terminal it lets nothing through on which the terminal would act. Elsewhere every
// byte stays as it is. Its methods may be called at the same time.
type Writer struct {
	mu     sync.Mutex
	out    io.Writer
	screen Screen
	rest   []byte // the beginning of a character whose end has not come
}

// Screen is the terminal behind a Writer; the zero value says that there is none.
type Screen struct {
	Terminal bool
	Colour   bool
	Width    int // in cells; 0: not limited
}

// File is the Writer of a standard stream.
func File(f *os.File) *Writer { return NewWriter(f, screenOf(f)) }

// NewWriter writes to any writer as if it had the screen.
func NewWriter(w io.Writer, s Screen) *Writer { return &Writer{out: w, screen: s} }

// Of is the Writer behind w; one without a terminal when w is none.
func Of(w io.Writer) *Writer {
	if s, ok := w.(*Writer); ok {
		return s
	}
	return NewWriter(w, Screen{})
}

func screenOf(f *os.File) Screen {
	if !term.IsTerminal(int(f.Fd())) {
		return Screen{}
	}
	s := Screen{Terminal: true, Colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && understands(f)}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		s.Width = width
	}
	return s
}

// Screen returns what the Writer writes to.
func (w *Writer) Screen() Screen { return w.screen }

// Write writes p; on a terminal as Lines. A character that is cut off at the end of p waits for the next Write.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.screen.Terminal {
		return w.out.Write(p)
	}
	all := append(w.rest, p...)
	n := len(all) - unfinished(all)
	w.rest = bytes.Clone(all[n:])
	if _, err := io.WriteString(w.out, Lines(string(all[:n]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what Write kept back.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := io.WriteString(w.out, Lines(string(w.rest)))
	w.rest = nil
	return err
}

// Control is the writer without protection, for what this package and bars of progress write to the terminal itself. It
// must never get text from outside that Text has not made visible.
func (w *Writer) Control() io.Writer { return w.out }

// Status replaces the line that the cursor stands in by text, cut to the terminal's width; "" clears it.
func (w *Writer) Status(line string) {
	line = Text(line)
	if w.screen.Width > 1 {
		line = Cut(line, w.screen.Width-1)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = io.WriteString(w.out, "\r\x1b[K"+line)
}

// Cut shortens s to so many cells, with … at its end.
func Cut(s string, most int) string { return text.Snip(s, most, "…") }

// unfinished is how many bytes at the end begin a character and do not end it, or are a carriage return whose line feed
// may follow.
func unfinished(p []byte) int {
	if len(p) > 0 && p[len(p)-1] == '\r' {
		return 1
	}
	for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
		if b := p[len(p)-i]; utf8.RuneStart(b) {
			if utf8.FullRune(p[len(p)-i:]) {
				return 0
			}
			return i
		}
	}
	return 0
}
