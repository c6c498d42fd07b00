package command

import (
	"fmt"
	"reflect"
	"slices"
)

// Kind numbers a command in the log. Numbers are never reused and never change their meaning.
type Kind uint16

// Size is the size class of a kind: how large its body may be.
type Size uint8

// The size classes.
const (
	Ordinary     Size = iota
	WithManifest      // the body holds a packed manifest
)

// Limit is the most bytes that a body of the class may have.
func (s Size) Limit() int {
	if s == WithManifest {
		return HardCommand + HardManifest
	}
	return HardCommand
}

// Spec is what the log knows of a kind. It says nothing of what the command does to the state.
type Spec struct {
	Kind  Kind
	Name  string // in logs and metrics
	Level int    // the feature level from which on it may be proposed
	Size  Size
	// New makes an empty command to decode into: a pointer to a struct.
	New func() Command
	// Blob is the blob that the command is the first to name. Nil: commands of the kind name none, or only old ones.
	Blob func(Command) string
	// Returns says what Result.Value is; "" means that it is always 0.
	Returns string

	fields FieldLevels
}

// The registered kinds, by number and by the type that New makes. They are written before main begins and never after.
var (
	byNumber []*Spec
	byType   = map[reflect.Type]*Spec{}
)

// Register makes kinds known to the codec. The package that holds their transitions calls it from its init function, as
// database drivers and image formats do: a kind is then declared once, in the highest package that knows all of it,
// while the codec stays in the lowest one, which imports nothing. It panics if a number, a name or a type comes twice.
func Register(specs ...Spec) {
	for _, s := range specs {
		t := reflect.TypeOf(s.New())
		s.fields = FieldLevelsOf(t)
		for int(s.Kind) >= len(byNumber) {
			byNumber = append(byNumber, nil)
		}
		same := func(o *Spec) bool { return o != nil && o.Name == s.Name }
		if s.Kind == 0 || s.Level < 1 || byNumber[s.Kind] != nil || byType[t] != nil || slices.ContainsFunc(byNumber, same) {
			panic(fmt.Sprintf("command: kind %d (%s, %v) is not valid, or comes twice", s.Kind, s.Name, t))
		}
		byNumber[s.Kind], byType[t] = &s, &s
	}
}

// Kinds are the registered kinds, by number.
func Kinds() []Spec {
	var all []Spec
	for _, s := range byNumber {
		if s != nil {
			all = append(all, *s)
		}
	}
	return all
}

// KindOf is the kind of a command, 0 for a type that no kind was registered for.
func KindOf(cmd Command) Kind {
	if s := byType[reflect.TypeOf(cmd)]; s != nil {
		return s.Kind
	}
	return 0
}

// LevelOf is the feature level from which on commands of this kind may be proposed.
func LevelOf(cmd Command) int {
	if s := byType[reflect.TypeOf(cmd)]; s != nil {
		return s.Level
	}
	panic(fmt.Sprintf("command: %T is no registered command", cmd)) // a mistake in the caller, whatever the data
}

// spec is nil for a kind that is not registered.
func (k Kind) spec() *Spec {
	if int(k) < len(byNumber) {
		return byNumber[k]
	}
	return nil
}

func (k Kind) String() string {
	if s := k.spec(); s != nil {
		return s.Name
	}
	return "unknown"
}
