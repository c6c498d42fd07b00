package command_test

import (
	"bytes"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"scaleout/fsm/command"
)

// levelsOf are the levels at which a command is written in another way than below: its kind's, and those of its fields.
func levelsOf(cmd command.Command) map[int]bool {
	levels := map[int]bool{command.LevelOf(cmd): true}
	eachTag(reflect.ValueOf(cmd), func(_ reflect.Value, level int) { levels[level] = true })
	return levels
}

// asOf is a copy of a value with the fields above the level unset.
func asOf[T any](v T, level int) T {
	body, err := command.Marshal(v)
	if err != nil {
		panic(err)
	}
	out := reflect.New(reflect.TypeOf(v).Elem())
	if err := command.Unmarshal(body, out.Interface()); err != nil {
		panic(err)
	}
	eachTag(out, func(f reflect.Value, of int) {
		if of > level {
			f.SetZero()
		}
	})
	return out.Interface().(T)
}

// eachTag visits the fields with a level.
func eachTag(v reflect.Value, visit func(f reflect.Value, level int)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			eachTag(v.Elem(), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachTag(v.Index(i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if level, err := strconv.Atoi(v.Type().Field(i).Tag.Get("level")); err == nil {
				visit(v.Field(i), level)
			}
			eachTag(v.Field(i), visit)
		}
	}
}

// A command as level 1 knew it, and as a later version knows it: fields were added at levels 3 and 4, here and in what
// it holds.
type (
	olderCommand struct {
		Name  string      `cbor:"1,keyasint"`
		Parts []olderPart `cbor:"2,keyasint,omitempty"`
	}
	olderPart struct {
		Size int `cbor:"1,keyasint"`
	}
	newerCommand struct {
		Name  string       `cbor:"1,keyasint"`
		Parts []newerPart  `cbor:"2,keyasint,omitempty"`
		Color string       `cbor:"3,keyasint,omitempty" level:"3"`
		Lists []string     `cbor:"4,keyasint,omitempty" level:"3"`
		Mark  *newerMark   `cbor:"5,keyasint,omitempty" level:"4"`
		Table map[int]int8 `cbor:"6,keyasint,omitempty" level:"4"`
		Cache string       `cbor:"-"`
	}
	newerPart struct {
		Size int  `cbor:"1,keyasint"`
		Deep bool `cbor:"2,keyasint,omitempty" level:"3"`
	}
	newerMark struct {
		Next *newerMark `cbor:"1,keyasint,omitempty"`
	}
)

func newerSample() *newerCommand {
	return &newerCommand{Name: "n", Parts: []newerPart{{Size: 1}, {Size: 2, Deep: true}}, Color: "red",
		Lists: []string{"a"}, Mark: &newerMark{}, Table: map[int]int8{1: 2}}
}

// Adding an optional field changes no golden bytes, and an older node reads what is written until the level rises.
func TestAnAddedFieldHarmsNothingBelowItsLevel(t *testing.T) {
	fields := command.FieldLevelsOf(reflect.TypeFor[newerCommand]())
	golden, err := command.Marshal(olderCommand{"n", []olderPart{{1}, {2}}})
	if err != nil {
		t.Fatal(err)
	}
	below := asOf(newerSample(), 2)
	now, err := command.Marshal(below)
	if err != nil || !bytes.Equal(now, golden) {
		t.Errorf("with the added fields unset it is written as %x, %v; was %x", now, err, golden)
	}
	var older olderCommand
	want := olderCommand{"n", []olderPart{{1}, {2}}}
	if err := command.Unmarshal(now, &older); err != nil || !reflect.DeepEqual(older, want) {
		t.Errorf("an older node reads %+v, %v", older, err)
	}
	if err := fields.Check(below, 2); err != nil {
		t.Error(err)
	}
	above, _ := command.Marshal(asOf(newerSample(), 3))
	if err := command.Unmarshal(above, &older); !errors.Is(err, command.ErrUndecodable) {
		t.Errorf("an older node reads a field that it does not know: %v", err)
	}
}

func TestFieldsAboveTheLevelAreRefused(t *testing.T) {
	fields := command.FieldLevelsOf(reflect.TypeFor[newerCommand]())
	for name, tt := range map[string]struct {
		cmd   newerCommand
		level int
		field string // "": allowed
	}{
		"nothing":           {newerCommand{}, 0, ""},
		"old fields":        {newerCommand{Name: "n", Parts: []newerPart{{Size: 1}}}, 1, ""},
		"text":              {newerCommand{Color: "red"}, 2, "newerCommand.Color"},
		"text, at last":     {newerCommand{Color: "red"}, 3, ""},
		"list":              {newerCommand{Lists: []string{""}}, 2, "newerCommand.Lists"},
		"empty list":        {newerCommand{Lists: []string{}, Table: map[int]int8{}}, 1, ""},
		"in a list":         {newerCommand{Parts: []newerPart{{Size: 1}, {Deep: true}}}, 2, "newerPart.Deep"},
		"pointer to zero":   {newerCommand{Mark: &newerMark{}}, 3, "newerCommand.Mark"},
		"map":               {newerCommand{Table: map[int]int8{0: 0}}, 3, "newerCommand.Table"},
		"all, at last":      {*newerSample(), 4, ""},
		"what is not saved": {newerCommand{Cache: "c"}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []any{tt.cmd, &tt.cmd} {
				err := fields.Check(v, tt.level)
				if tt.field == "" {
					if err != nil {
						t.Error(err)
					}
				} else if !errors.Is(err, command.ErrLevel) || !strings.Contains(err.Error(), tt.field) {
					t.Errorf("%v, want a refusal of %s", err, tt.field)
				}
			}
		})
	}
}

func TestTagsThatCannotWork(t *testing.T) {
	for name, v := range map[string]any{
		"always written": struct {
			A int `cbor:"1,keyasint" level:"2"`
		}{},
		"no number": struct {
			A int `cbor:"1,keyasint,omitempty" level:"two"`
		}{},
		"level 1": struct {
			A int `cbor:"1,keyasint,omitempty" level:"1"`
		}{},
		"a struct": struct {
			A olderPart `cbor:"1,keyasint,omitempty" level:"2"`
		}{},
		"deep inside": struct {
			A map[string][]*struct {
				B int `cbor:"1,keyasint" level:"2"`
			} `cbor:"1,keyasint"`
		}{},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it was accepted")
				}
			}()
			command.FieldLevelsOf(reflect.TypeOf(v))
		})
	}
}
