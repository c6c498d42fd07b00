package catalog

import (
	"testing"

	"scaleout/fsm/command"
)

// What is special about a kind fits its type, whatever a command of it holds.
func TestSpecialsFitTheirKinds(t *testing.T) {
	blobs, manifests, awaited := 0, 0, 0
	for _, k := range kinds[1:] {
		t.Run(k.Name, func(t *testing.T) {
			if got := command.KindOf(k.New()); got != k.Kind {
				t.Errorf("a new command of kind %d is of kind %d", k.Kind, got)
			}
			if (k.decide == nil) == (k.apply == nil) {
				t.Error("one of decide and apply is wanted")
			}
			if k.Blob != nil {
				blobs++
				k.Blob(k.New())
			}
			if k.awaits != nil {
				awaited++
				k.awaits(k.New())
			}
			if k.Size != command.Ordinary {
				manifests++
			}
		})
	}
	if blobs != 3 || manifests != 1 || awaited != 1 {
		t.Errorf("%d kinds name a blob, %d hold a manifest, %d are waited for", blobs, manifests, awaited)
	}
}

func TestBlobOfACommand(t *testing.T) {
	for name, tt := range map[string]struct {
		cmd  command.Command
		want string
	}{
		"a project":        {&command.DeployProject{Blob: "a"}, "a"},
		"messages":         {&command.AppendMessages{Segment: "b"}, "b"},
		"a merged segment": {&command.MergeSegments{Segment: "c", Sources: []string{"d"}}, "c"},
		"none":             {&command.CreateFolder{Name: "e"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			env, err := command.Wrap(tt.cmd)
			must(err)
			if got, err := env.Blob(); err != nil || got != tt.want {
				t.Errorf("it names %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	bad := command.Envelope{Kind: command.KindOf(&command.DeployProject{}), Body: []byte{0xff}}
	if _, err := bad.Blob(); err == nil {
		t.Error("of an undecodable project the blob is known")
	}
}

func TestRegisterRefusesDoubles(t *testing.T) {
	type another struct{}
	for name, s := range map[string]command.Spec{
		"number":   {Kind: 5, Name: "x", Level: 1, New: func() command.Command { return new(another) }},
		"name":     {Kind: 9999, Name: "create_folder", Level: 1, New: func() command.Command { return new(another) }},
		"type":     {Kind: 9999, Name: "x", Level: 1, New: func() command.Command { return new(command.CreateFolder) }},
		"no level": {Kind: 9999, Name: "x", New: func() command.Command { return new(another) }},
		"zero":     {Name: "x", Level: 1, New: func() command.Command { return new(another) }},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it was registered")
				}
			}()
			command.Register(s)
		})
	}
}
