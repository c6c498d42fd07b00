package guard

import (
	"encoding/json"
	"io"
	"strings"
)

const (
	// MinSecret is the smallest length in bytes of a secret that is masked. Shorter ones occur inside ordinary words, and
	// the many masks in a text would give such a secret away.
	MinSecret = 6
	// mask replaces every secret. It is shorter than any secret, so that a text never grows.
	mask      = "***"
	maskChunk = 16 << 10
)

// masker finds all secrets in a stream in one pass, wherever they begin and even if they overlap (Aho–Corasick). It
// never changes, so both streams of a package share it.
type masker struct{ nodes []maskNode }

// maskNode stands for a prefix of one or more secrets. Its children are a linked list, since most nodes have one child.
type maskNode struct {
	child, sibling int32 // 0: none, since no node leads to the root
	fail           int32 // the longest proper suffix that is also a prefix of a secret
	depth          int32 // the length of the prefix
	found          int32 // the length of the longest secret that ends here; 0: none
	b              byte
}

// newMasker returns a masker of the secrets, of each line of a secret with several lines, and of their JSON forms, in
// which a package finds them in its parameters file. It returns nil if there is nothing to mask.
func newMasker(secrets []string) *masker {
	m := &masker{nodes: make([]maskNode, 1)}
	for _, s := range secrets {
		m.add(s)
		for line := range strings.Lines(s) {
			m.add(strings.TrimSpace(line))
		}
		if quoted, err := json.Marshal(s); err == nil {
			m.add(string(quoted[1 : len(quoted)-1]))
		}
	}
	if len(m.nodes) == 1 {
		return nil
	}
	m.link()
	return m
}

func (m *masker) add(secret string) {
	if len(secret) < MinSecret {
		return
	}
	at := int32(0)
	for i := range len(secret) {
		next := m.child(at, secret[i])
		if next == 0 {
			next = int32(len(m.nodes))
			m.nodes = append(m.nodes, maskNode{b: secret[i], depth: int32(i) + 1, sibling: m.nodes[at].child})
			m.nodes[at].child = next
		}
		at = next
	}
	m.nodes[at].found = int32(len(secret))
}

func (m *masker) child(at int32, b byte) int32 {
	for c := m.nodes[at].child; c != 0; c = m.nodes[c].sibling {
		if m.nodes[c].b == b {
			return c
		}
	}
	return 0
}

// link sets the fail links. It goes breadth first, since the link of a node depends on those of shorter prefixes.
func (m *masker) link() {
	queue := []int32{0}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for c := m.nodes[at].child; c != 0; c = m.nodes[c].sibling {
			if at != 0 {
				m.nodes[c].fail = m.step(m.nodes[at].fail, m.nodes[c].b)
			}
			m.nodes[c].found = max(m.nodes[c].found, m.nodes[m.nodes[c].fail].found)
			queue = append(queue, c)
		}
	}
}

// step returns the node for the text after one more byte.
func (m *masker) step(at int32, b byte) int32 {
	for {
		if next := m.child(at, b); next != 0 || at == 0 {
			return next
		}
		at = m.nodes[at].fail
	}
}

// text masks a text. A nil masker changes nothing.
func (m *masker) text(s string) string {
	if m == nil {
		return s
	}
	b, _ := io.ReadAll(m.reader(strings.NewReader(s)))
	return string(b)
}

// reader returns a reader of r's content with its secrets masked. It holds back only what may be the beginning of a
// secret, and nothing at the end. A nil masker returns r itself.
func (m *masker) reader(r io.Reader) io.Reader {
	if m == nil {
		return r
	}
	return &maskReader{m: m, r: r, in: make([]byte, maskChunk)}
}

type maskReader struct {
	m      *masker
	r      io.Reader
	in     []byte
	err    error
	state  int32
	held   []byte // bytes in which a secret may have begun
	runs   []span // the parts of held that secrets cover, in order and disjoint
	masked bool   // the last released byte belonged to a secret
	out    []byte
}

// span is held[from:to].
type span struct{ from, to int }

func (r *maskReader) Read(p []byte) (int, error) {
	for len(r.out) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		var n int
		n, r.err = r.r.Read(r.in)
		for _, b := range r.in[:n] {
			r.take(b)
		}
		keep := int(r.m.nodes[r.state].depth)
		if r.err != nil {
			keep = 0
		}
		r.release(len(r.held) - keep)
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

func (r *maskReader) take(b byte) {
	r.held = append(r.held, b)
	r.state = r.m.step(r.state, b)
	found := int(r.m.nodes[r.state].found)
	if found == 0 {
		return
	}
	// A secret is at most as long as the depth of the node at its end, and that many bytes are always held.
	now := span{len(r.held) - found, len(r.held)}
	for n := len(r.runs); n > 0 && r.runs[n-1].to >= now.from; n-- {
		now.from = min(now.from, r.runs[n-1].from)
		r.runs = r.runs[:n-1]
	}
	r.runs = append(r.runs, now)
}

// release moves the first n held bytes to the output.
func (r *maskReader) release(n int) {
	out, at := r.out[:0], 0
	for _, c := range r.runs {
		from, to := min(c.from, n), min(c.to, n)
		if from > at {
			out, r.masked = append(out, r.held[at:from]...), false
		}
		if to > from && !r.masked {
			out, r.masked = append(out, mask...), true
		}
		at = max(at, to)
	}
	if n > at {
		out, r.masked = append(out, r.held[at:n]...), false
	}
	r.out = out
	r.held = r.held[:copy(r.held, r.held[n:])]
	rest := r.runs[:0]
	for _, c := range r.runs {
		if c.to > n {
			rest = append(rest, span{max(c.from-n, 0), c.to - n})
		}
	}
	r.runs = rest
}

// Mask masks the secrets in a text as a guard does in the output of its package.
func Mask(text string, secrets []string) string { return newMasker(secrets).text(text) }
