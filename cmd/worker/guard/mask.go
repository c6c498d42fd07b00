package guard

import (
	"encoding/json"
	"io"
	"strings"
)

const (
	// MinSecret is the length in bytes from which on a secret is masked. Shorter ones would be found in the midst of
	// ordinary words, and a text with so many masks in it would give them away.
	MinSecret = 6
	// mask stands for whatever is masked. It is shorter than any secret, so that a text never grows.
	mask      = "***"
	maskChunk = 16 << 10
)

// masker finds secrets in a stream of bytes: all of them at once and wherever they begin, overlapping ones included, byte
// by byte (Aho–Corasick). It does not change once it is made, so that the streams of a package share it.
type masker struct{ nodes []maskNode }

// maskNode is a beginning of secrets. Children are a list: most have one.
type maskNode struct {
	child, sibling int32 // 0: none, since no node leads to the root
	fail           int32 // the longest proper suffix that is a beginning, too
	depth          int32 // its length
	found          int32 // length of the longest secret that ends here; 0 none
	b              byte
}

// newMasker takes the secrets, each line of those that have several, and their forms in JSON, which is how a package finds
// them in its file of parameters. It is nil when nothing is to be masked.
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

// link sets where to go on when a secret does not go on: breadth first, so that shorter beginnings are linked before.
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

// step is the state after one more byte.
func (m *masker) step(at int32, b byte) int32 {
	for {
		if next := m.child(at, b); next != 0 || at == 0 {
			return next
		}
		at = m.nodes[at].fail
	}
}

// text masks a text as a whole. A nil masker changes nothing.
func (m *masker) text(s string) string {
	if m == nil {
		return s
	}
	b, _ := io.ReadAll(m.reader(strings.NewReader(s)))
	return string(b)
}

// reader masks what it reads from r. It holds back no more than what may be the beginning of a secret, and nothing at the
// end. A nil masker is no hindrance.
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
	held   []byte // a secret that began in them may still go on
	runs   []span // the parts of held that secrets cover, in order, apart from each other
	masked bool   // the last byte that went out was covered
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
	// A secret is no longer than the depth of the state at its end, and so much has always been held.
	now := span{len(r.held) - found, len(r.held)}
	for n := len(r.runs); n > 0 && r.runs[n-1].to >= now.from; n-- {
		now.from = min(now.from, r.runs[n-1].from)
		r.runs = r.runs[:n-1]
	}
	r.runs = append(r.runs, now)
}

// release lets the first n bytes go.
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
