package registry

import (
	"fmt"

	"scaleout/fsm/sqltype"
)

// Parameter is one parameter of a procedure.
type Parameter struct {
	Name      string // without "@"
	Type      sqltype.Type
	Required  bool
	Default   any // typed as Type's Go value; nil is NULL
	Output    bool
	Sensitive bool
	Doc       string
}

// Column is one column of a view or a result set.
type Column struct {
	Name     string // in the documented case
	Type     sqltype.Type
	Nullable bool
	Doc      string
}

// Row is one row of a view: Go values in the order of its columns; nil is NULL.
type Row []any

// ResultSet is rows with their columns.
type ResultSet struct {
	Columns []Column
	Rows    []Row
}

// AppendRow appends one row as a JSON object whose keys are the columns' names.
func AppendRow(dst []byte, columns []Column, row Row) ([]byte, error) {
	if len(row) != len(columns) {
		return dst, fmt.Errorf("a row of %d values for %d columns", len(row), len(columns))
	}
	dst = append(dst, '{')
	for i := range columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = sqltype.AppendString(dst, columns[i].Name)
		dst = append(dst, ':')
		var err error
		if dst, err = sqltype.AppendJSON(dst, columns[i].Type, row[i]); err != nil {
			return dst, fmt.Errorf("column %s: %w", columns[i].Name, err)
		}
	}
	return append(dst, '}'), nil
}
