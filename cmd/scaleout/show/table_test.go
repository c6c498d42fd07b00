package show

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"pgregory.net/rapid"
)

func sample() *Table {
	return &Table{
		Columns: []Column{
			{Head: "Name"}, {Head: "State"}, {Head: "Slots", Right: true, Drop: 2}, {Head: "Runs", Wrap: true, Drop: 3},
			{Head: "Machine", Drop: 4}, {Head: "Worker id", Wide: true},
		},
		Rows: [][]Cell{
			{{"worker-1", Plain}, {"online", Good}, {"3 of 4", Plain}, {"17 ETL/Sales/Load.dtsx, 18 ETL/Sales/Load.dtsx", Plain},
				{"host-a.example.org", Plain}, {"AA-BB", Faint}},
			{{"größe-大", Plain}, {"silent", Bad}, {"0 of 4", Plain}, {"", Plain}, {"b\x1b[31m\n", Plain}, {"CC-DD", Faint}},
		},
	}
}

func printed(t *testing.T, table *Table, s Screen) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := table.Print(NewWriter(&out, s)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTables(t *testing.T) {
	for _, c := range []struct {
		name   string
		screen Screen
		wide   bool
		want   string
	}{
		{"no terminal", Screen{}, false, `
Name      State    Slots  Runs                                            Machine
worker-1  online  3 of 4  17 ETL/Sales/Load.dtsx, 18 ETL/Sales/Load.dtsx  host-a.example.org
größe-大  silent  0 of 4                                                  b\u001b[31m\n
`},
		{"wide", Screen{Terminal: true, Width: 40}, true, `
Name      State    Slots  Runs                                            Machine             Worker id
worker-1  online  3 of 4  17 ETL/Sales/Load.dtsx, 18 ETL/Sales/Load.dtsx  host-a.example.org  AA-BB
größe-大  silent  0 of 4                                                  b\u001b[31m\n       CC-DD
`},
		{"80 cells", Screen{Terminal: true, Width: 80}, false, `
Name      State    Slots  Runs                        Machine
worker-1  online  3 of 4  17 ETL/Sales/Load.dtsx, 18  host-a.example.org
                          ETL/Sales/Load.dtsx
größe-大  silent  0 of 4                              b\u001b[31m\n
`},
		{"45 cells", Screen{Terminal: true, Width: 45}, false, `
Name      State    Slots  Runs
worker-1  online  3 of 4  17
                          ETL/Sales/Load.dtsx
                          , 18
                          ETL/Sales/Load.dtsx
größe-大  silent  0 of 4
`},
		{"28 cells", Screen{Terminal: true, Width: 28}, false, `
Name      State    Slots
worker-1  online  3 of 4
größe-大  silent  0 of 4
`},
		{"10 cells", Screen{Terminal: true, Width: 10}, false, `
Name      State
worker-1  online
größe-大  silent
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := sample()
			table.Wide = c.wide
			if got := printed(t, table, c.screen); got != c.want[1:] {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
		})
	}
}

var sequence = regexp.MustCompile("\x1b\\[[0-9]+m")

// Colours change nothing but the colour, and are only there on a terminal that has them.
func TestColours(t *testing.T) {
	for _, width := range []int{0, 80, 45, 28} {
		plain := printed(t, sample(), Screen{Terminal: true, Width: width})
		coloured := printed(t, sample(), Screen{Terminal: true, Colour: true, Width: width})
		if !strings.Contains(coloured, "\x1b[32monline\x1b[0m") || !strings.Contains(coloured, "\x1b[31msilent\x1b[0m") {
			t.Errorf("at %d without colours: %q", width, coloured)
		}
		if got := sequence.ReplaceAllString(coloured, ""); got != plain {
			t.Errorf("at %d\n%s\nis not\n%s", width, got, plain)
		}
		if strings.Contains(plain, "\x1b") {
			t.Errorf("colours without a terminal that has them: %q", plain)
		}
	}
}

// A table whose columns can all be dropped or broken fits, whatever it holds.
func TestTablesFit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		width := rapid.IntRange(30, 120).Draw(rt, "width")
		table := &Table{Columns: []Column{{Head: "Id"}, {Head: "What", Wrap: true}, {Head: "A", Drop: 1},
			{Head: "B", Drop: 2}}}
		for range rapid.IntRange(0, 5).Draw(rt, "rows") {
			row := []Cell{{Text: "17"}}
			for range 3 {
				row = append(row, Cell{Text: rapid.StringN(0, 60, -1).Draw(rt, "cell"),
					Tone: Tone(rapid.IntRange(0, 6).Draw(rt, "tone"))})
			}
			table.Rows = append(table.Rows, row)
		}
		for line := range strings.SplitSeq(printed(t, table, Screen{Terminal: true, Colour: true, Width: width}), "\n") {
			if n := text.StringWidthWithoutEscSequences(line); n > width {
				rt.Fatalf("%d cells on a terminal of %d: %q", n, width, line)
			}
		}
	})
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		ago  time.Duration
		want string
	}{
		{0, "now"}, {900 * time.Millisecond, "now"}, {59 * time.Second, "59 s ago"}, {90 * time.Second, "1 min ago"},
		{47 * time.Hour, "47 h ago"},
		{50 * time.Hour, "2 days ago"}, {-90 * time.Second, "in 1 min"}, {-72 * time.Hour, "in 3 days"},
		{100 * 24 * time.Hour, now.Add(-100 * 24 * time.Hour).Local().Format(time.DateOnly)},
	} {
		if got := Relative.Time(now.Add(-c.ago), now); got != c.want {
			t.Errorf("%v ago is %q, want %q", c.ago, got, c.want)
		}
	}
	if got := UTC.Time(now.Add(time.Millisecond), now); got != "2026-01-31T12:00:00Z" {
		t.Error(got)
	}
	if got, want := Local.Time(now, now), now.Local().Format("2006-01-02 15:04:05"); got != want {
		t.Error(got, want)
	}
	if got := Relative.Time(time.Time{}, now); got != "" {
		t.Error(got)
	}
}
