package guard

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// pieces reads a text in pieces of so many bytes.
type pieces struct {
	text string
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b, p.text[:min(p.size, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

func masked(t testing.TB, m *masker, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(m.reader(r))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMask(t *testing.T) {
	const pem = "-----BEGIN KEY-----\nMIIEvQIBADAN\nab\n-----END KEY-----"
	for _, test := range []struct {
		name       string
		secrets    []string
		text, want string
	}{
		{"none", nil, "a secret", "a secret"},
		{"in a line", []string{"hunter2"}, "password=hunter2;\n", "password=***;\n"},
		{"twice", []string{"hunter2"}, "hunter2 hunter2", "*** ***"},
		{"one after the other is one", []string{"hunter2"}, "hunter2hunter2!", "***!"},
		{"alone", []string{"hunter2"}, "hunter2", "***"},
		{"short ones stay", []string{"abcde"}, "abcde", "abcde"},
		{"six bytes are enough", []string{"äöü"}, "x äöü y", "x *** y"},
		{"only its beginning", []string{"hunter2"}, "hunter", "hunter"},
		{"its beginning, then it", []string{"aaaaab"}, "aaaaaaaab", "aaa***"},
		{"one in another", []string{"secret", "my secret word"}, "my secret word, my secret", "***, my ***"},
		{"one is the beginning of another", []string{"secret", "secret-long"}, "secret-lonx secret-long", "***-lonx ***"},
		{"overlapping", []string{"abcdef", "defghi"}, "-abcdefghi-", "-***-"},
		{"overlapping itself", []string{"abaaba"}, "xabaabaabay", "x***y"},
		{"three overlapping", []string{"abcdef", "defghi", "ghijkl"}, "abcdefghijkl.", "***."},
		{"a failed long one hides a short one", []string{"abcdefgh", "cdefgx"}, "abcdefgx", "ab***"},
		{"several lines", []string{pem}, "key:\n" + pem + "\n.", "key:\n***\n."},
		{"one line of several", []string{pem}, "MIIEvQIBADAN\n", "***\n"},
		{"lines of Windows", []string{"first line\r\nsecond line"}, "first line\nsecond line\n", "***\n***\n"},
		{"as JSON has it", []string{"a\"b\\c\nd<"}, `{"value": "a\"b\\c\nd\u003c"}`, `{"value": "***"}`},
		{"no text", []string{"hunter2"}, "", ""},
		{"bytes that are no text", []string{"hunter2"}, "\xff\xfehunter2\x00", "\xff\xfe***\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMasker(test.secrets)
			for size := 1; size <= len(test.text)+1; size++ {
				if got := masked(t, m, &pieces{test.text, size}); got != test.want {
					t.Fatalf("in pieces of %d: %q, want %q", size, got, test.want)
				}
			}
			if got := Mask(test.text, test.secrets); got != test.want {
				t.Errorf("as a whole: %q, want %q", got, test.want)
			}
		})
	}
}

// What cannot begin a secret goes out at once: a line must not wait for the next one.
func TestMaskingHoldsNothingBack(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	in := newMasker([]string{"hunter2"}).reader(r)
	said := make(chan string)
	go func() {
		defer close(said)
		buf := make([]byte, 100)
		for {
			n, err := in.Read(buf)
			if n > 0 {
				said <- string(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	for _, step := range []struct{ write, want string }{{"hello\n", "hello\n"}, {"the hunt", "the "}, {"er2\n", "***\n"},
		{"hunt\n", "hunt\n"}} {
		if _, err := io.WriteString(w, step.write); err != nil {
			t.Fatal(err)
		}
		if got := <-said; got != step.want {
			t.Errorf("after %q: %q, want %q", step.write, got, step.want)
		}
	}
	w.Close()
	if rest, open := <-said; open {
		t.Errorf("at the end: %q", rest)
	}
}

func TestMaskingOfABrokenStream(t *testing.T) {
	broken := errors.New("broken")
	m := newMasker([]string{"hunter2"})
	b, err := io.ReadAll(m.reader(io.MultiReader(strings.NewReader("x hunt"), iotest.ErrReader(broken))))
	if string(b) != "x hunt" || !errors.Is(err, broken) {
		t.Errorf("%q, %v", b, err)
	}
}

// A long secret of one letter is the worst case of many algorithms.
func TestMaskingOfAMonotonousSecret(t *testing.T) {
	secret := strings.Repeat("a", 64<<10)
	text := strings.Repeat("a", 256<<10) + "b" + secret[1:] + "b"
	want := "***b" + secret[1:] + "b"
	if got := Mask(text, []string{secret}); got != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

// The secrets reach neither the output file nor any other file of the task folder.
func TestOutputIsMasked(t *testing.T) {
	const secret = "correct horse\nbattery staple"
	dir := t.TempDir()
	o, err := newOutput(dir, 64<<10, newMasker([]string{secret, "hunter2"}), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	// The first line is cut at maxLine, in the midst of the secret.
	text := strings.Repeat("x", maxLine-3) + "hunter2\n" + secret + "\nend"
	for size := range 5 {
		o.copy(Stdout, &pieces{text, size*1000 + 1})
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	lines, _, err := ReadOutput(dir, 0)
	if err != nil || len(lines) < 15 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	var all strings.Builder
	for _, l := range lines {
		all.WriteString(l.Text + "\n")
	}
	for _, part := range []string{"hunter2", "hun", "ter2", "correct", "horse", "battery", "staple"} {
		if strings.Contains(all.String(), part) {
			t.Errorf("%q is in the output", part)
		}
	}
}

// maskSlowly is what masking means: every byte of every occurrence of every secret, and one mask for each run of them.
func maskSlowly(text string, secrets []string) string {
	covered := make([]bool, len(text))
	for _, s := range secrets {
		if len(s) < MinSecret {
			continue
		}
		for i := 0; i+len(s) <= len(text); i++ {
			if text[i:i+len(s)] == s {
				for j := range len(s) {
					covered[i+j] = true
				}
			}
		}
	}
	var out bytes.Buffer
	for i := range len(text) {
		switch {
		case !covered[i]:
			out.WriteByte(text[i])
		case i == 0 || !covered[i-1]:
			out.WriteString(mask)
		}
	}
	return out.String()
}

func FuzzMask(f *testing.F) {
	f.Add("password=hunter2;", "hunter2", "hunter22", uint8(3))
	f.Add("abcdefghi", "abcdef", "defghi", uint8(1))
	f.Add("aabaabaab", "aabaab", "abaaba", uint8(2))
	f.Add("a\nb\r\nline two of it", "line one\nline two of it", "", uint8(4))
	f.Fuzz(func(t *testing.T, text, a, b string, size uint8) {
		if len(text) > 1<<12 || len(a) > 1<<10 || len(b) > 1<<10 {
			return
		}
		var all []string
		for _, s := range []string{a, b} {
			all = append(all, s)
			for line := range strings.Lines(s) {
				all = append(all, strings.TrimSpace(line))
			}
			quoted, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(quoted[1:len(quoted)-1]))
		}
		want := maskSlowly(text, all)
		if got := masked(t, newMasker([]string{a, b}), &pieces{text, int(size)%16 + 1}); got != want {
			t.Errorf("%q with %q, %q: %q, want %q", text, a, b, got, want)
		}
	})
}
