package registry

import (
	"fmt"

	"scaleout/fsm/sqltype"
)

// AppendRows appends rows as a JSON array of objects whose keys are the columns' names.
func AppendRows(dst []byte, columns []Column, rows []Row) ([]byte, error) {
	keys := make([][]byte, len(columns)) // what stands before each value
	for i := range columns {
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		keys[i] = append(sqltype.AppendString([]byte{before}, columns[i].Name), ':')
	}
	dst = append(dst, '[')
	for i, row := range rows {
		if len(row) != len(columns) {
			return dst, fmt.Errorf("a row of %d values for %d columns", len(row), len(columns))
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		if len(columns) == 0 {
			dst = append(dst, '{')
		}
		for j := range columns {
			var err error
			if dst, err = sqltype.AppendJSON(append(dst, keys[j]...), columns[j].Type, row[j]); err != nil {
				return dst, fmt.Errorf("column %s: %w", columns[j].Name, err)
			}
		}
		dst = append(dst, '}')
	}
	return append(dst, ']'), nil
}

// MarshalJSON is an object with the members of AppendJSON.
func (s ResultSet) MarshalJSON() ([]byte, error) {
	dst, err := s.AppendJSON([]byte{'{'})
	return append(dst, '}'), err
}

// AppendJSON appends the members "columns", with names and types, and "rows" of a JSON object, without its braces.
func (s ResultSet) AppendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, `"columns":[`...)
	for i := range s.Columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"name":`...)
		dst = sqltype.AppendString(dst, s.Columns[i].Name)
		dst = append(dst, `,"type":`...)
		dst = append(sqltype.AppendString(dst, s.Columns[i].Type.String()), '}')
	}
	dst = append(dst, `],"rows":`...)
	return AppendRows(dst, s.Columns, s.Rows)
}
