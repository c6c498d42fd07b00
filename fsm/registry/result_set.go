package registry

import "scaleout/fsm/sqltype"

// AppendRows appends rows as a JSON array of objects whose keys are the columns' names.
func AppendRows(dst []byte, columns []Column, rows []Row) ([]byte, error) {
	dst = append(dst, '[')
	for i, row := range rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = AppendRow(dst, columns, row); err != nil {
			return dst, err
		}
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
