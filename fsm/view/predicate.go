package view

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// Operator is how a predicate compares a column, as the doors write it behind the column's name.
type Operator string

// The operators. As in SQL, a row whose column is NULL matches none of them but Equal with "null".
const (
	Equal    Operator = ""     // one of the values: =, IN; "null" is IS NULL
	NotEqual Operator = "ne"   // none of the values: <>, NOT IN; "null" alone is IS NOT NULL
	Less     Operator = "lt"   // <
	AtMost   Operator = "le"   // <=
	Greater  Operator = "gt"   // >
	AtLeast  Operator = "ge"   // >=
	Like     Operator = "like" // LIKE: % any text, _ one character, [a-z] and [^a-z] one of a set
)

// Operators returns those that have a name.
func Operators() []string {
	return []string{string(NotEqual), string(Less), string(AtMost), string(Greater), string(AtLeast), string(Like)}
}

// operatorsOf returns those of them that compare a column of a type. The values of a sql_variant are ordered by the
// families of their base types, and a predicate's text has none: what is less than it could only be guessed.
func operatorsOf(t sqltype.Type) []string {
	switch {
	case t == sqltype.Variant:
		return []string{string(NotEqual)}
	case t.IsText():
		return Operators()
	}
	return slices.DeleteFunc(Operators(), func(o string) bool { return o == string(Like) })
}

func (o Operator) fromAbove() bool { return o == Less || o == AtMost }
func (o Operator) fromBelow() bool { return o == Greater || o == AtLeast }

// Bounds of one predicate.
const (
	MaxValues  = 100 // values of = and ne
	maxPattern = 400 // characters of a pattern
)

// Predicate is one condition on one column. All predicates of a query must hold.
type Predicate struct {
	Column   string // in any case
	Operator Operator
	Values   []string // more than one only for Equal and NotEqual
}

// condition is a predicate that was read.
type condition struct {
	index    int // of the column
	operator Operator
	values   []any    // typed as the column; nil is NULL
	pattern  *pattern // of Like
}

// parseConditions reads the predicates, in the order of the columns.
func parseConditions(view *View, predicates []Predicate) ([]condition, error) {
	var list []condition
	for _, p := range predicates {
		i, ok := view.Column(p.Column)
		if !ok {
			return nil, unknownColumn(view, p.Column)
		}
		if slices.ContainsFunc(list, func(c condition) bool { return c.index == i && c.operator == p.Operator }) {
			return nil, command.Refuse(command.CodeColumnTwice, view.Columns[i].Name)
		}
		c, err := parseCondition(&view.Columns[i], p)
		if err != nil {
			return nil, err
		}
		c.index, c.operator = i, p.Operator
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b condition) int { return a.index - b.index })
	return list, nil
}

func parseCondition(col *registry.Column, p Predicate) (c condition, err error) {
	if p.Operator != Equal && !slices.Contains(Operators(), string(p.Operator)) {
		return c, command.Refuse(command.CodeFilterOperator, col.Name, string(p.Operator), Operators())
	}
	several := p.Operator == Equal || p.Operator == NotEqual
	switch {
	case len(p.Values) == 0 || len(p.Values) > 1 && !several:
		return c, command.Refuse(command.CodeColumnTwice, col.Name)
	case len(p.Values) > MaxValues:
		return c, command.Refuse(command.CodeFilterValues, col.Name, len(p.Values), MaxValues)
	case p.Operator != Equal && !slices.Contains(operatorsOf(col.Type), string(p.Operator)):
		return c, command.Refuse(command.CodeFilterType, col.Name, col.Type, string(p.Operator),
			append([]string{"="}, operatorsOf(col.Type)...))
	case p.Operator == Like:
		c.pattern, err = parsePattern(col.Name, p.Values[0])
		return c, err
	}
	for _, text := range p.Values {
		var v any
		if !several || !sqltype.EqualText(text, "null") {
			if v, err = sqltype.ParseText(col.Type, text); err != nil {
				return c, badFilter(col, err)
			}
		}
		if !slices.ContainsFunc(c.values, func(x any) bool { return sqltype.Compare(x, v) == 0 }) {
			c.values = append(c.values, v)
		}
	}
	return c, nil
}

func badFilter(col *registry.Column, err error) error {
	var bad *sqltype.ValueError
	if !errors.As(err, &bad) {
		return err
	}
	return command.Refuse(command.CodeColumnValue, col.Name, bad.Value, bad.Type, bad.Want)
}

// constant reports whether the condition leaves its column one value.
func (c *condition) constant() bool { return c.operator == Equal && len(c.values) == 1 }

// holds reports whether the condition is true of a value of its column.
func (c *condition) holds(v any) bool {
	switch {
	case c.operator == Equal:
		return slices.ContainsFunc(c.values, func(x any) bool { return sqltype.Equal(v, x) })
	case v == nil:
		return false
	case c.operator == NotEqual:
		return !slices.ContainsFunc(c.values, func(x any) bool { return sqltype.Equal(v, x) })
	case c.operator == Like:
		text, ok := v.(string)
		return ok && c.pattern.matches(text)
	}
	switch order := sqltype.Compare(v, c.values[0]); c.operator {
	case Less:
		return order < 0
	case AtMost:
		return order <= 0
	case Greater:
		return order > 0
	default:
		return order >= 0
	}
}

// Where returns the predicates of a filter as the doors write it: values by "column" or "column.operator". They are in
// the order of those names.
func Where(filter map[string][]string) []Predicate {
	list := make([]Predicate, 0, len(filter))
	for _, name := range slices.Sorted(maps.Keys(filter)) {
		column, operator, _ := strings.Cut(name, ".")
		list = append(list, Predicate{Column: column, Operator: Operator(operator), Values: filter[name]})
	}
	return list
}
