package view

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// likeSlowly says whether a pattern matches by trying everything.
func likeSlowly(parts []patternPart, anyAt func(int) bool, at int, text []rune) bool {
	switch {
	case anyAt(at) && len(text) > 0 && likeSlowly(parts, anyAt, at, text[1:]):
		return true
	case at == len(parts):
		return len(text) == 0
	}
	return len(text) > 0 && parts[at].takes(text[0]) && likeSlowly(parts, anyAt, at+1, text[1:])
}

// Short patterns and texts of few letters, of which many match and many nearly do; one pattern is used for many texts.
func TestLikeFindsWhatTryingEverythingFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	word := func(letters string, most int) string {
		var b strings.Builder
		for range random.IntN(most + 1) {
			b.WriteByte(letters[random.IntN(len(letters))])
		}
		return b.String()
	}
	matched := 0
	for range 3000 {
		text := word("ab%_%", 9)
		if random.IntN(20) == 0 {
			text = strings.Repeat("a", 62) + text // across the words of a set of places
		}
		p, err := parsePattern("name", text)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			s := word("aAb ", 10)
			if len(p.parts) > 60 {
				s = strings.Repeat("A", 62) + s
			}
			want := likeSlowly(p.parts, p.anyAt.has, 0, []rune(strings.ToLower(s)))
			if got := p.matches(s); got != want {
				t.Fatalf("%q like %q is %v", s, text, got)
			}
			if want {
				matched++
			}
		}
	}
	if matched < 1000 {
		t.Errorf("only %d matched", matched)
	}
}

// The meanest pattern costs about as much as a simple one, so that nobody can keep a master busy with it.
func TestLikeCostsWhatTheTextIsLong(t *testing.T) {
	text := strings.Repeat("x", 1<<16)
	took := func(pattern string) time.Duration {
		p, err := parsePattern("name", pattern)
		if err != nil {
			t.Fatal(err)
		}
		least := time.Hour
		for range 5 {
			began := time.Now()
			if p.matches(text) {
				t.Fatalf("%q matches", pattern)
			}
			least = min(least, time.Since(began))
		}
		return least
	}
	if simple, mean := took("%xz"), took("%"+strings.Repeat("x", maxPattern-2)+"z"); mean > 50*simple {
		t.Errorf("a mean pattern takes %v, a simple one %v", mean, simple)
	}
}

func BenchmarkLike(b *testing.B) {
	text := strings.Repeat("load of sales into the warehouse: step 17 of 200 has ended. ", 4)
	for name, pattern := range map[string]string{"simple": "%failed%", "mean": "%" + strings.Repeat("x", 390) + "z"} {
		b.Run(name, func(b *testing.B) {
			p, _ := parsePattern("name", pattern)
			for b.Loop() {
				p.matches(text)
			}
		})
	}
}
