package show

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Column is one column of a table.
type Column struct {
	Head string
	// Drop says how easily a reader does without the column: on a terminal that is too narrow the one with the highest
	// number goes first. A column with 0 stays.
	Drop  int
	Wide  bool // only shown by Wide
	Right bool // aligned to the right: numbers
	Wrap  bool // its text may be broken into several lines
}

// Cell is one value of a table.
type Cell struct {
	Text string
	Tone Tone
}

// Table is rows under columns.
type Table struct {
	Columns []Column
	Rows    [][]Cell
	Wide    bool // every column, whatever the terminal's width
}

// gap is what stands between two columns.
const gap = "  "

// Print writes the table to w. On a terminal it fits: columns are dropped by importance, then broken. It returns how
// many were dropped.
func (t *Table) Print(w *Writer) (hidden int, err error) {
	screen := w.Screen()
	columns, widths := t.measure()
	all := len(columns)
	limits := map[int]int{}
	if screen.Width > 0 && !t.Wide {
		columns = dropped(t.Columns, columns, widths, screen.Width)
		limits = broken(t.Columns, columns, widths, screen.Width)
	}
	out := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", gap
	out.SetStyle(style)
	var configs []table.ColumnConfig
	var head table.Row
	for place, i := range columns {
		c := t.Columns[i]
		config := table.ColumnConfig{Number: place + 1}
		if c.Right {
			config.Align, config.AlignHeader = text.AlignRight, text.AlignRight
		}
		configs = append(configs, config)
		head = append(head, colour(screen, heading, wrap(Text(c.Head), limits[i])))
	}
	out.SetColumnConfigs(configs)
	out.AppendHeader(head)
	for _, row := range t.Rows {
		var line table.Row
		for _, i := range columns {
			line = append(line, colour(screen, row[i].Tone, wrap(Text(row[i].Text), limits[i])))
		}
		out.AppendRow(line)
	}
	// Blanks at the end would wrap on a narrow terminal.
	for line := range strings.SplitSeq(out.Render(), "\n") {
		if _, err := fmt.Fprintln(w.Control(), strings.TrimRight(line, " ")); err != nil {
			return 0, err
		}
	}
	return all - len(columns), nil
}

// wrap breaks s into lines of so many cells at most, between words where that is possible. 0 is no limit.
func wrap(s string, limit int) string {
	if limit == 0 || text.StringWidthWithoutEscSequences(s) <= limit {
		return s
	}
	var lines []string
	line, width := "", 0
	for word := range strings.SplitSeq(s, " ") {
		n := text.StringWidthWithoutEscSequences(word)
		if line != "" && width+1+n <= limit {
			line, width = line+" "+word, width+1+n
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for n > limit {
			head := text.Trim(word, limit)
			lines = append(lines, head)
			word = word[len(head):]
			n = text.StringWidthWithoutEscSequences(word)
		}
		line, width = word, n
	}
	return strings.Join(append(lines, line), "\n")
}

// measure returns the columns that are shown and the width of each.
func (t *Table) measure() (columns []int, widths map[int]int) {
	widths = map[int]int{}
	for i, c := range t.Columns {
		if c.Wide && !t.Wide {
			continue
		}
		columns = append(columns, i)
		widths[i] = text.StringWidthWithoutEscSequences(c.Head)
		for _, row := range t.Rows {
			widths[i] = max(widths[i], text.StringWidthWithoutEscSequences(Text(row[i].Text)))
		}
	}
	return columns, widths
}

func total(columns []int, widths map[int]int) int {
	sum := -len(gap)
	for _, i := range columns {
		sum += widths[i] + len(gap)
	}
	return sum
}

// dropped leaves columns out, the least important first, until the rest fits or nothing more may go. What can be broken
// counts with a third of the terminal at most.
func dropped(all []Column, columns []int, widths map[int]int, limit int) []int {
	need := map[int]int{}
	for i, w := range widths {
		if need[i] = w; all[i].Wrap {
			need[i] = min(w, max(limit/3, narrowest))
		}
	}
	columns = slices.Clone(columns)
	for total(columns, need) > limit {
		worst := slices.MaxFunc(columns, func(a, b int) int { return all[a].Drop - all[b].Drop })
		if all[worst].Drop == 0 {
			break
		}
		columns = slices.DeleteFunc(columns, func(i int) bool { return i == worst })
	}
	return columns
}

// narrowest is the least width of a column that is broken.
const narrowest = 12

// broken gives the columns that may be broken what the others leave, the widest giving way first.
func broken(all []Column, columns []int, widths map[int]int, limit int) map[int]int {
	limits := map[int]int{}
	now := map[int]int{}
	for _, i := range columns {
		now[i] = widths[i]
	}
	for total(columns, now) > limit {
		widest := -1
		for _, i := range columns {
			if all[i].Wrap && now[i] > narrowest && (widest < 0 || now[i] > now[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		now[widest]--
		limits[widest] = now[widest]
	}
	return limits
}
