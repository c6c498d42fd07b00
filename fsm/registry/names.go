package registry

import (
	"slices"
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// Names is a table of declarations that callers ask for by name.
type Names[T any] struct {
	list   []T
	byName map[string]T
	names  []string // of the list, without aliases
	absent string   // the code that refuses a name that is not in the table
}

// NewNames sorts declarations by name. The first name of each is its own, the others are aliases; absent is the code of
// the refusal of any other name, whose arguments are the name and those that there are. It panics over a name that is
// there twice: declarations are made before anything runs.
func NewNames[T any](absent string, list []T, names func(T) []string) *Names[T] {
	t := &Names[T]{list: slices.Clone(list), byName: make(map[string]T, len(list)), absent: absent}
	slices.SortFunc(t.list, func(a, b T) int { return strings.Compare(names(a)[0], names(b)[0]) })
	for _, d := range t.list {
		all := names(d)
		t.names = append(t.names, all[0])
		for _, name := range all {
			if _, twice := t.byName[sqltype.Fold(name)]; twice {
				panic("registry: " + name + " is declared twice")
			}
			t.byName[sqltype.Fold(name)] = d
		}
	}
	return t
}

// All returns every declaration, by name. The slice must not be changed.
func (t *Names[T]) All() []T { return t.list }

// Named returns the declaration of that name, in any case and without a schema.
func (t *Names[T]) Named(name string) (T, bool) {
	d, ok := t.byName[sqltype.Fold(name)]
	return d, ok
}

// Find is Named with a refusal that helps.
func (t *Names[T]) Find(name string) (T, error) {
	d, ok := t.Named(name)
	if !ok {
		return d, command.Refuse(t.absent, name, t.names)
	}
	return d, nil
}
