package service

import (
	"scaleout/fsm/catalog"
	"scaleout/fsm/procedure"
	"scaleout/fsm/registry"
	"scaleout/fsm/view"
)

// ProcedureInfo is what anybody may know of a procedure. It shares its lists with the declaration: nobody may change
// them.
type ProcedureInfo struct {
	Schema     string
	Name       string // without the schema
	Aliases    []string
	Doc        string // one line
	Roles      []string
	Parameters []registry.Parameter
	Returns    []registry.ReturnCode
	Sets       [][]registry.Column // of each result set
	Codes      []string            // that its own rules refuse with
}

// Procedures lists the catalog's procedures.
func (s *Service) Procedures() []ProcedureInfo {
	all := procedure.All()
	out := make([]ProcedureInfo, len(all))
	for i, p := range all {
		out[i] = ProcedureInfo{Schema: p.Schema, Name: p.Name, Aliases: p.Aliases, Doc: p.Doc,
			Roles:      catalog.Roles(p.Permission),
			Parameters: p.Parameters, Returns: p.Returns, Sets: p.Sets, Codes: p.Codes()}
	}
	return out
}

// ViewInfo is what anybody may know of a view. It shares its lists with the declaration: nobody may change them.
type ViewInfo struct {
	Name    string
	Doc     string
	Roles   []string
	Columns []registry.Column
	Key     []string // the columns that order the view when a query names none
}

// Views lists the catalog's views.
func (s *Service) Views() []ViewInfo {
	all := view.All()
	out := make([]ViewInfo, len(all))
	for i, v := range all {
		out[i] = ViewInfo{Name: v.Name, Doc: v.Doc, Roles: catalog.Roles(v.Permission), Columns: v.Columns, Key: v.Key}
	}
	return out
}
