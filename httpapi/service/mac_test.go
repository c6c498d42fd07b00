package service

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"scaleout/fsm/procedure"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

func macOf(t *testing.T, p *procedure.Procedure, body string) []byte {
	t.Helper()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &raw); err != nil {
		t.Fatal(err)
	}
	mac, err := requestMAC([]byte("0123456789abcdef"), p, sqltype.NewSecret(raw))
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

func TestRequestMACIsOfWhatTheCallerMeant(t *testing.T) {
	p := &procedure.Procedure{Name: "p"}
	for _, x := range []struct {
		name, a, b string
		same       bool
	}{
		{"order", `{"a":1,"b":"x"}`, `{"b":"x","a":1}`, true},
		{"case of names", `{"Folder_Name":"x"}`, `{"folder_name":"x"}`, true},
		{"blanks behind names", `{"folder_name  ":"x"}`, `{"folder_name":"x"}`, true},
		{"the prefix of names", `{"@folder_name":"x"}`, `{"folder_name":"x"}`, true},
		{"white space", "{ \"a\" :\t[ 1,2 ] }", `{"a":[1,2]}`, true},
		{"NULL is nothing", `{"a":1,"b":null}`, `{"a":1}`, true},
		{"escapes", `{"a":"\u0041\/\u00e9<\u2028"}`, "{\"a\":\"A/é<\u2028\"}", true},
		{"spelling of numbers", `{"a":[1,1.0,10e-1,0.01e2,-0]}`, `{"a":[1,1,1,1,0]}`, true},
		{"order within values", `{"a":{"x":1,"y":[true]}}`, `{"a":{"y":[true],"x":1}}`, true},
		{"another value", `{"a":1}`, `{"a":2}`, false},
		{"another case of a value", `{"a":"x"}`, `{"a":"X"}`, false},
		{"digits that a float has not", `{"a":9007199254740993}`, `{"a":9007199254740992}`, false},
		{"signs", `{"a":1}`, `{"a":-1}`, false},
		{"powers of ten", `{"a":1}`, `{"a":10}`, false},
		{"exponents without measure", `{"a":1e99999999999999999999}`, `{"a":1e99999999999999999998}`, false},
		{"a string is no number", `{"a":"1"}`, `{"a":1}`, false},
		{"a string is no word", `{"a":"true"}`, `{"a":true}`, false},
		{"another name", `{"a":1}`, `{"b":1}`, false},
		{"a value more", `{"a":1}`, `{"a":1,"b":false}`, false},
		{"order within lists", `{"a":[1,2]}`, `{"a":[2,1]}`, false},
		{"where a list ends", `{"a":[[1],2]}`, `{"a":[[1,2]]}`, false},
		{"NULL within values", `{"a":{"x":null}}`, `{"a":{}}`, false},
		{"where a string ends", `{"a":"xb","b":"y"}`, `{"a":"x","b":"by"}`, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			if got := bytes.Equal(macOf(t, p, x.a), macOf(t, p, x.b)); got != x.same {
				t.Errorf("%s and %s: equal %t, want %t", x.a, x.b, got, x.same)
			}
		})
	}
	if bytes.Equal(macOf(t, p, `{}`), macOf(t, &procedure.Procedure{Name: "q"}, `{}`)) {
		t.Error("two procedures have one MAC")
	}
	if _, err := requestMAC(nil, p, procedure.Raw{}); err == nil {
		t.Error("a MAC without a secret")
	}
}

// Whatever a call names its procedure, it is the same call.
func TestRequestMACIsOfTheProcedureNotOfItsSpelling(t *testing.T) {
	for _, p := range procedure.All() {
		for _, name := range append([]string{strings.ToUpper(p.Name), p.Name + " "}, p.Aliases...) {
			t.Run(name, func(t *testing.T) {
				called, ok := procedure.Named(name)
				if !ok {
					t.Fatalf("no procedure is called so")
				}
				if !bytes.Equal(macOf(t, called, `{"a":1}`), macOf(t, p, `{"a":1}`)) {
					t.Errorf("its MAC is another one than that of %s", p.Name)
				}
			})
		}
	}
}

// A key that was kept before a release must fit to its call after it.
func TestAParameterMoreChangesNoMAC(t *testing.T) {
	p, ok := procedure.Named("create_execution")
	if !ok {
		t.Fatal("no create_execution")
	}
	later := *p
	later.Parameters = append(append([]registry.Parameter{}, p.Parameters...),
		registry.Parameter{Name: "later", Type: sqltype.Bit, Default: true})
	const body = `{"folder_name":"F","project_name":"P","package_name":"a.dtsx"}`
	if !bytes.Equal(macOf(t, p, body), macOf(t, &later, body)) {
		t.Error("the same call has another MAC once its procedure has another parameter")
	}
}
