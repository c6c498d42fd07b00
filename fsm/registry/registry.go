package registry

import "scaleout/fsm/sqltype"

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

// ReturnCode is a value that a procedure may return, and what it means.
type ReturnCode struct {
	Value int64
	Doc   string
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
