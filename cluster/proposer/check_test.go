package proposer

import (
	"errors"
	"strings"
	"testing"

	"scaleout/fsm/command"
)

// later is a command of level 2 to which level 3 adds a field.
type later struct {
	Name  string `cbor:"1,keyasint"`
	Color string `cbor:"2,keyasint,omitempty" level:"3"`
}

func TestCheck(t *testing.T) {
	command.Register(command.Spec{Kind: 9000, Name: "later", Level: 2,
		New: func() command.Command { return new(later) }})
	for name, tt := range map[string]struct {
		cmd   command.Command
		level int
		err   error
		text  string
	}{
		"kind":         {&command.CreateFolder{Name: "F"}, 1, nil, ""},
		"kind too new": {&later{}, 1, command.ErrLevel, "later needs level 2, the cluster is at 1"},
		"field unset":  {&later{Name: "n"}, 2, nil, ""},
		"field too new": {&later{Color: "red"}, 2, command.ErrLevel,
			"later.Color needs level 3, the cluster is at 2"},
		"field":                 {&later{Color: "red"}, 3, nil, ""},
		"a project's manifest":  {&command.DeployProject{Manifest: make([]byte, command.HardManifest)}, 1, nil, ""},
		"no cluster has begun":  {&command.CreateFolder{Name: "F"}, 0, command.ErrLevel, "the cluster is at 0"},
		"old kind, later level": {&command.CreateFolder{Name: "F"}, 9, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			env, err := command.Wrap(tt.cmd)
			if err != nil {
				t.Fatal(err)
			}
			err = Check(env, tt.level)
			if !errors.Is(err, tt.err) || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v, want %v %s", err, tt.err, tt.text)
			}
		})
	}
	if err := Check(command.Envelope{Kind: 9999}, 9); !errors.Is(err, command.ErrLevel) {
		t.Errorf("a kind that nobody knows: %v", err)
	}
	env, _ := command.Wrap(&command.CreateFolder{Name: strings.Repeat("x", command.HardCommand-100)})
	env.Key.Text = strings.Repeat("k", 200)
	if err := Check(env, 1); !errors.Is(err, command.ErrTooLarge) {
		t.Errorf("a command too large with its key: %v", err)
	}
}
