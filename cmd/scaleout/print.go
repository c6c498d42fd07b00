package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
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
		m := make(map[string]any, len(pairs))
		for _, p := range pairs {
			m[p.name] = p.value
		}
		return printJSON(cmd, m)
	}
	width := 0
	for _, p := range pairs {
		width = max(width, len(p.name))
	}
	for _, p := range pairs {
		fmt.Fprintf(cmd.OutOrStdout(), "%-*s  %s\n", width, p.name, cell(p.value))
	}
	return nil
}

func printJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// sayf prints a sentence; lines after its first are indented, so that no text from outside looks like a line of its own.
func sayf(w io.Writer, format string, args ...any) {
	fmt.Fprintln(w, show.Indented(fmt.Sprintf(format, args...), 2))
}

// rows prints a table of the given columns, or the whole rows as JSON.
func (a *app) rows(cmd *cobra.Command, columns []string, rows []client.Row) error {
	if a.output == "json" {
		if rows == nil {
			rows = []client.Row{}
		}
		return printJSON(cmd, rows)
	}
	body := make([][]any, len(rows))
	for i, r := range rows {
		for _, c := range columns {
			body[i] = append(body[i], cell(r[c]))
		}
	}
	a.table(cmd, columns, body)
	return nil
}

// table prints aligned columns.
func (a *app) table(cmd *cobra.Command, columns []string, body [][]any) {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = 0
	t.SetStyle(style)
	head := make(table.Row, len(columns))
	for i, c := range columns {
		head[i] = strings.ToUpper(c)
	}
	t.AppendHeader(head)
	for _, r := range body {
		for i, v := range r {
			r[i] = cell(v)
		}
		t.AppendRow(r)
	}
	// Trailing blanks would wrap on narrow terminals.
	for line := range strings.SplitSeq(t.Render(), "\n") {
		fmt.Fprintln(cmd.OutOrStdout(), strings.TrimRight(line, " "))
	}
}

// cell is a value as a person reads it.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		// Seven decimals of a datetimeoffset tell a person nothing.
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

// statusNames are SSISDB's names of the statuses of operations.
var statusNames = [...]string{
	1: "created", 2: "running", 3: "canceled", 4: "failed", 5: "pending",
	6: "ended unexpectedly", 7: "succeeded", 8: "stopping", 9: "completed",
}

func statusName(n int64) string {
	if n > 0 && int(n) < len(statusNames) {
		return statusNames[n]
	}
	return fmt.Sprint(n)
}

// ended reports whether a status is final.
func ended(status int64) bool {
	switch status {
	case 3, 4, 6, 7, 9:
		return true
	}
	return false
}
