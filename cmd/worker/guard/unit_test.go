package guard

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestElapsedIsTheLargest(t *testing.T) {
	at := func(mono, boot, wall time.Duration) Instant {
		return Instant{Mono: mono, Boot: boot, Wall: int64(wall)}
	}
	from := at(time.Hour, time.Hour, 24*time.Hour)
	for name, c := range map[string]struct {
		now  Instant
		want time.Duration
	}{
		"all alike":           {at(time.Hour+time.Second, time.Hour+time.Second, 24*time.Hour+time.Second), time.Second},
		"slept":               {at(time.Hour, time.Hour+time.Minute, 24*time.Hour), time.Minute},
		"slept, wall only":    {at(time.Hour, time.Hour, 24*time.Hour+time.Minute), time.Minute},
		"wall clock set back": {at(time.Hour+time.Second, time.Hour+time.Second, 20*time.Hour), time.Second},
		"nothing passed":      {from, 0},
		"all back":            {at(0, 0, 0), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := from.Since(c.now); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	if a, b := Now(), Now(); a.Since(b) < 0 || a.Boot == 0 || a.Mono == 0 {
		t.Errorf("clocks: %+v %+v", a, b)
	}
}

func TestOutputIsBounded(t *testing.T) {
	dir := t.TempDir()
	const limit = 8 << 10
	o, err := newOutput(dir, limit, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var in strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&in, "line %d\n", i)
	}
	o.copy(Stdout, strings.NewReader(in.String()))
	o.line(Stderr, []byte("the reason\n"))
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, OutputFile))
	if err != nil || info.Size() > limit {
		t.Fatalf("size %d, %v", info.Size(), err)
	}
	lines, _, err := ReadOutput(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	notice, next := -1, 0
	for i, l := range lines {
		switch l.Stream {
		case Notice:
			if notice >= 0 || !strings.Contains(l.Text, "left out") {
				t.Fatalf("line %d: %+v", i, l)
			}
			notice = i
			var dropped int
			fmt.Sscanf(l.Text, "%d", &dropped)
			next += dropped
		case Stdout:
			if l.Text != fmt.Sprintf("line %d", next) {
				t.Fatalf("line %d is %q, want number %d", i, l.Text, next)
			}
			next++
		}
	}
	if last := lines[len(lines)-1]; notice < 0 || last.Stream != Stderr || last.Text != "the reason" {
		t.Errorf("notice at %d, last line %+v", notice, last)
	}
}

func TestOutputOddities(t *testing.T) {
	dir := t.TempDir()
	o, err := newOutput(dir, 1<<20, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	o.copy(Stdout, strings.NewReader("\n\xff\xfe\x00\r\n"+strings.Repeat("x", 3*maxLine)+"\nend"))
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	lines, next, err := ReadOutput(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, l := range lines[2:] {
		total += len(l.Text)
		if len(l.Text) > maxLine {
			t.Errorf("a line of %d bytes", len(l.Text))
		}
	}
	if lines[0].Text != "" || lines[1].Text != "\uFFFD\uFFFD" || total != 3*maxLine+3 {
		t.Errorf("%q %q, %d bytes", lines[0].Text, lines[1].Text, total)
	}
	// A record that is not complete yet is read when it is.
	f, err := os.OpenFile(filepath.Join(dir, OutputFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("2026-01-02T03:04:05.0000000Z O ha")
	if got, again, err := ReadOutput(dir, next); err != nil || len(got) != 0 || again != next {
		t.Fatalf("%v %d %v", got, again, err)
	}
	f.WriteString("lf\n")
	got, _, err := ReadOutput(dir, next)
	if err != nil || len(got) != 1 || got[0].Text != "half" || got[0].Time.Year() != 2026 {
		t.Fatalf("%v %v", got, err)
	}
}

func TestParseLine(t *testing.T) {
	const at = "2026-01-02T03:04:05.0000000Z"
	for _, test := range []struct {
		name, record string
		want         Line
		ok           bool
	}{
		{"output", at + " O hello", Line{Stream: Stdout, Text: "hello"}, true},
		{"an empty line", at + " E ", Line{Stream: Stderr}, true},
		{"blanks at both ends", at + " O  x ", Line{Stream: Stdout, Text: " x "}, true},
		{"nothing", "", Line{}, false},
		{"cut off in the time", at[:10], Line{}, false},
		{"no blank after the stream", at + " Ohello", Line{}, false},
		{"another time format", strings.Repeat("x", len(at)) + " O hello", Line{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := parseLine(test.record)
			if test.ok {
				test.want.Time = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			}
			if ok != test.ok || got != test.want {
				t.Errorf("%+v, %v; want %+v, %v", got, ok, test.want, test.ok)
			}
		})
	}
}

func TestIsGuard(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want bool
	}{
		{"with the program's name", []string{"scaleout", Verb, "/tasks/1-1"}, true},
		{"without the program's name", []string{Verb, "/tasks/1-1"}, true},
		{"no folder", []string{"scaleout", Verb}, false},
		{"two folders", []string{"scaleout", Verb, "a", "b"}, false},
		{"another verb", []string{"scaleout", "worker", "start"}, false},
		{"nothing", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := IsGuard(test.args); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
