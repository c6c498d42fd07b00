package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/httpapi/client"
)

func httpClient(t http.RoundTripper) *http.Client { return &http.Client{Transport: t} }

// pair is one line of a printed object.
type pair struct {
	name  string
	value any
}

// object prints names and values.
func (a *app) object(cmd *cobra.Command, pairs []pair) error {
	if a.output == "json" {
		return printJSON(cmd, jsonOf(pairs))
	}
	width := 0
	for _, p := range pairs {
		width = max(width, len(p.name))
	}
	for _, p := range pairs {
		if text := a.cell(cmd, p.value); text != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "%-*s  %s\n", width, sentenceCase(p.name), text)
		}
	}
	return nil
}

func jsonOf(pairs []pair) map[string]any {
	m := make(map[string]any, len(pairs))
	for _, p := range pairs {
		m[p.name] = p.value
	}
	return m
}

// sentenceCase makes a heading of a name: "execution_id" is "Execution id". What has capitals of its own, such as
// WorkerAgentId, stays.
func sentenceCase(name string) string {
	if name == "" || strings.ToLower(name) != name {
		return name
	}
	return strings.ToUpper(name[:1]) + strings.ReplaceAll(name[1:], "_", " ")
}

// done says what a verb did: as a sentence, or as JSON with these names. The names are a contract.
func (a *app) done(cmd *cobra.Command, pairs []pair, format string, args ...any) error {
	if a.output == "json" {
		return printJSON(cmd, jsonOf(pairs))
	}
	sayf(cmd.OutOrStdout(), format, args...)
	return nil
}

func printJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// sayf prints a sentence; lines after its first are indented, so that no text from outside looks like a line of its
// own.
func sayf(w io.Writer, format string, args ...any) {
	fmt.Fprintln(w, show.Indented(fmt.Sprintf(format, args...), 2))
}

// column is a column of a table of rows.
type column struct {
	show.Column
	cell func(p *printer, r client.Row) show.Cell
}

// printer is how the values of one table are formatted.
type printer struct {
	clock show.Clock
	now   time.Time
}

// value is a column that shows the row's value of a name.
func value(head, name string) column {
	return column{show.Column{Head: head}, func(_ *printer,
		r client.Row) show.Cell {
		return show.Cell{Text: cell(r[name])}
	}}
}

// text is a column of text that may be broken into lines.
func text(head, name string) column {
	c := value(head, name)
	c.Wrap = true
	return c
}

// number is a column of numbers.
func number(head, name string) column {
	c := value(head, name)
	c.Right = true
	return c
}

// when is a column of times.
func when(head, name string) column {
	return column{show.Column{Head: head}, func(p *printer, r client.Row) show.Cell {
		at, _ := r.Time(name)
		return show.Cell{Text: p.clock.Time(at, p.now)}
	}}
}

// derived is a column whose text is made of the row.
func derived(head string, text func(client.Row) string) column {
	return column{show.Column{Head: head}, func(_ *printer, r client.Row) show.Cell { return show.Cell{Text: text(r)} }}
}

// toned is derived with a colour.
func toned(head string, cell func(client.Row) show.Cell) column {
	return column{show.Column{Head: head}, func(_ *printer, r client.Row) show.Cell { return cell(r) }}
}

// drop gives the column up on a narrow terminal before those with a lower number.
func (c column) drop(n int) column { c.Drop = n; return c }

// breakable lets the column's text be broken into lines.
func (c column) breakable() column { c.Wrap = true; return c }

// wide shows the column with -o wide alone.
func (c column) wide() column { c.Wide = true; return c }

// clock chooses how times look: as the flags say, else relative on a terminal and UTC elsewhere.
func (a *app) clock(cmd *cobra.Command) show.Clock {
	switch {
	case a.utc:
		return show.UTC
	case a.absolute:
		return show.Local
	case show.Of(cmd.OutOrStdout()).Screen().Terminal:
		return show.Relative
	}
	return show.UTC
}

// stamp is a moment with milliseconds, for lists of what happened.
func (a *app) stamp(t time.Time) string {
	if a.utc {
		return t.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}

// rows prints rows as a table of the given columns, or as they are as JSON.
func (a *app) rows(cmd *cobra.Command, rows []client.Row, columns ...column) error {
	if a.output == "json" {
		if rows == nil {
			rows = []client.Row{}
		}
		return printJSON(cmd, rows)
	}
	p := &printer{clock: a.clock(cmd), now: time.Now()}
	t := &show.Table{Wide: a.output == "wide"}
	for _, c := range columns {
		t.Columns = append(t.Columns, c.Column)
	}
	for _, r := range rows {
		line := make([]show.Cell, len(columns))
		for i, c := range columns {
			line[i] = c.cell(p, r)
		}
		t.Rows = append(t.Rows, line)
	}
	_, err := t.Print(show.Of(cmd.OutOrStdout()))
	return err
}

// raw prints rows under the names of their columns and says how many of them did not fit. On a narrow terminal those go
// first that are empty in every row, then those that come last; a status and a message stay longer, and long texts are
// broken.
func (a *app) raw(cmd *cobra.Command, names []string, rows []client.Row) error {
	if a.output == "json" {
		return a.rows(cmd, rows)
	}
	t := &show.Table{Wide: a.output == "wide"}
	for i, name := range names {
		c := show.Column{Head: name, Drop: i}
		if name == "status" || name == "message" {
			c.Drop = 1
		}
		c.Wrap = slices.ContainsFunc(rows, func(r client.Row) bool { return longText(cell(r[name])) })
		if len(rows) > 0 && !slices.ContainsFunc(rows, func(r client.Row) bool { return cell(r[name]) != "" }) {
			c.Drop += len(names)
		}
		t.Columns = append(t.Columns, c)
	}
	for _, r := range rows {
		line := make([]show.Cell, len(names))
		for i, name := range names {
			line[i].Text = cell(r[name])
		}
		t.Rows = append(t.Rows, line)
	}
	hidden, err := t.Print(show.Of(cmd.OutOrStdout()))
	if hidden > 0 && err == nil {
		sayf(cmd.ErrOrStderr(), "%d of %d columns do not fit; '-o wide' shows all, '-o json' too", hidden, len(names))
	}
	return err
}

// longText reports whether a text is long and can be broken between words.
func longText(s string) bool { return len(s) > 24 && strings.Contains(s, " ") }

// table prints cells under headings; the last column is the one that gives way on a narrow terminal.
func (a *app) table(cmd *cobra.Command, columns []show.Column, body [][]any) {
	t := &show.Table{Columns: columns, Wide: a.output == "wide"}
	for _, r := range body {
		line := make([]show.Cell, len(r))
		for i, v := range r {
			if c, ok := v.(show.Cell); ok {
				line[i] = c
				continue
			}
			line[i].Text = a.cell(cmd, v)
		}
		t.Rows = append(t.Rows, line)
	}
	_, _ = t.Print(show.Of(cmd.OutOrStdout()))
}

// heads are columns of which the last may be broken.
func heads(names ...string) []show.Column {
	out := make([]show.Column, len(names))
	for i, n := range names {
		out[i] = show.Column{Head: n, Wrap: i == len(names)-1}
	}
	return out
}

// cell is a value as a person reads it; times as the caller wants them.
func (a *app) cell(cmd *cobra.Command, v any) string {
	at, ok := v.(time.Time)
	if !ok {
		return cell(v)
	}
	if clock := a.clock(cmd); clock != show.Relative || at.IsZero() {
		return clock.Time(at, time.Now())
	}
	// Of one thing both are wanted: how long ago, and when.
	return show.Relative.Time(at, time.Now()) + ", " + show.Local.Time(at, time.Now())
}

// cell is a value as a person reads it.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		// A datetimeoffset is shown without its seven decimals.
		if len(v) > 20 && v[4] == '-' && v[10] == 'T' && strings.HasSuffix(v, "Z") {
			if i := strings.IndexByte(v, '.'); i > 0 {
				return show.Text(v[:i] + "Z")
			}
		}
		return show.Text(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	}
	return show.Text(fmt.Sprint(v))
}

// moment is a row's time, the zero time when it has none.
func moment(r client.Row, name string) time.Time {
	at, _ := r.Time(name)
	return at
}
