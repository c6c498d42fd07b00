package catalog

import (
	"testing"

	"scaleout/fsm/command"
)

func TestEffectiveValue(t *testing.T) {
	design, given := &command.Value{Type: "String", Text: "design"}, command.Value{Type: "String", Text: "given"}
	for name, c := range map[string]struct {
		required bool
		set      []SetValue
		want     string
	}{
		"a design default":                {false, nil, "design"},
		"a value instead of the default":  {false, []SetValue{{ObjectProject, "p", given}}, "given"},
		"a value of another object":       {false, []SetValue{{ObjectPackage, "P", given}}, "design"},
		"a required one without a value":  {true, nil, ""},
		"a required one that has a value": {true, []SetValue{{ObjectProject, "P", given}}, "given"},
	} {
		t.Run(name, func(t *testing.T) {
			p := command.Parameter{Name: "P", Type: "String", Required: c.required, Default: design}
			got, set := EffectiveValue(&Execution{Values: c.set}, ObjectProject, &p)
			if set != (c.want == "given") || (got == nil) != (c.want == "") || got != nil && got.Text != c.want {
				t.Errorf("got %v, set %t; want %q", got, set, c.want)
			}
			params, _, _ := GrantParameters(&Version{Manifest: command.Manifest{Parameters: []command.Parameter{p}}},
				&Execution{Values: c.set})
			if (len(params) == 1) != (c.want != "") || len(params) == 1 && params[0].Value.Text != c.want {
				t.Errorf("a package gets %v, want %q", params, c.want)
			}
		})
	}
}
