package command

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// FieldLevels knows from which feature level on the fields of a type may be used. A field says it by its tag:
//
//	Color string `cbor:"9,keyasint,omitempty" level:"3"`
//
// A field without the tag is as old as its type. A field with one is written only when it is set, and must not be set
// below its level: there may be masters then that cannot read it. The zero FieldLevels is of a type without such
// fields.
type FieldLevels struct{ highest int }

// FieldLevelsOf reads the tags of a type and of all types that it is made of. It panics for a tag that cannot work.
func FieldLevelsOf(t reflect.Type) FieldLevels {
	return FieldLevels{highest(t, map[reflect.Type]bool{})}
}

func highest(t reflect.Type, seen map[reflect.Type]bool) int {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return highest(t.Elem(), seen)
	case reflect.Map:
		return max(highest(t.Key(), seen), highest(t.Elem(), seen))
	case reflect.Struct:
	default:
		return 0
	}
	if seen[t] {
		return 0
	}
	seen[t] = true
	most := 0
	for f := range t.Fields() {
		if stored(f) {
			most = max(most, levelOf(t, f), highest(f.Type, seen))
		}
	}
	return most
}

// stored reports whether a field reaches CBOR at all.
func stored(f reflect.StructField) bool {
	return (f.IsExported() || f.Anonymous) && f.Tag.Get("cbor") != "-"
}

// levelOf is the level of the field itself, 0 without a tag.
func levelOf(t reflect.Type, f reflect.StructField) int {
	text, ok := f.Tag.Lookup("level")
	if !ok {
		return 0
	}
	level, err := strconv.Atoi(text)
	empty := strings.HasSuffix(f.Tag.Get("cbor"), ",omitempty")
	switch f.Type.Kind() {
	case reflect.Struct, reflect.Array: // CBOR writes them even if nothing in them is set
		empty = false
	}
	if err != nil || level < 2 || !empty {
		panic(fmt.Sprintf("%v.%s: a level must be above 1, and its field have omitempty and a type that can be empty",
			t, f.Name))
	}
	return level
}

// Check returns an error that wraps ErrLevel when the value uses a field that is newer than the given feature level.
// The value is of the type that the levels are of, or a pointer to it.
func (l FieldLevels) Check(v any, level int) error {
	if !l.Above(level) {
		return nil // nearly always: values are looked at only while a cluster is being upgraded
	}
	if name, need := newer(reflect.ValueOf(v), max(level, 1)); need > 0 {
		return tooNew(name, need, level)
	}
	return nil
}

// Above reports whether the type has a field that is newer than the given feature level.
func (l FieldLevels) Above(level int) bool { return l.highest > max(level, 1) }

func tooNew(what string, need, level int) error {
	return fmt.Errorf("%w: %s needs level %d, the cluster is at %d; it rises once every master runs a version that "+
		"knows it", ErrLevel, what, need, level)
}

// newer finds a field in use above the level. An empty slice, map or text is not in use: it is not written.
func newer(v reflect.Value, level int) (name string, need int) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return newer(v.Elem(), level)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if name, need = newer(v.Index(i), level); need > 0 {
				return name, need
			}
		}
	case reflect.Map:
		for at := v.MapRange(); at.Next(); {
			for _, part := range []reflect.Value{at.Key(), at.Value()} {
				if name, need = newer(part, level); need > 0 {
					return name, need
				}
			}
		}
	case reflect.Struct:
		t := v.Type()
		for i := range t.NumField() {
			f := t.Field(i)
			if !stored(f) || unused(v.Field(i)) {
				continue
			}
			if need = levelOf(t, f); need > level {
				return t.Name() + "." + f.Name, need
			}
			if name, need = newer(v.Field(i), level); need > 0 {
				return name, need
			}
		}
	}
	return "", 0
}

func unused(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return v.IsZero()
}
