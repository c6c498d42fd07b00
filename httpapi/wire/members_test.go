package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestMembers(t *testing.T) {
	many := make([]string, MaxMembers+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"p%d":1`, i)
	}
	for _, c := range []struct {
		name, body, code, says string
	}{
		{"empty", ` `, CodeInvalidJSON, "empty"},
		{"list", `[]`, CodeInvalidJSON, `'['`},
		{"twice", `{"a":1,"b":2,"a":3}`, CodeInvalidArgument, `"a" is given twice`},
		{"twice, spelled with an escape", `{"a":1,"\u0061":3}`, CodeInvalidArgument, `"a" is given twice`},
		{"twice inside a value is the value's own matter", `{"a":{"b":1,"b":2},"c":[1]}`, "", ""},
		{"cut off in a string", `{"a":"x`, CodeInvalidJSON, "before it is complete"},
		{"cut off after a value", `{"a":1`, CodeInvalidJSON, "before it is complete"},
		{"cut off in a list", `{"a":[1`, CodeInvalidJSON, "before it is complete"},
		{"no name", `{1:2}`, CodeInvalidJSON, "the name of a member"},
		{"comma at the end", `{"a":1,}`, CodeInvalidJSON, "the name of a member"},
		{"no colon", `{"a" 1}`, CodeInvalidJSON, "a colon"},
		{"no value", `{"a":}`, CodeInvalidJSON, "a value"},
		{"a word", `{"a":tru}`, CodeInvalidJSON, "byte 6"},
		{"brackets that do not match", `{"a":[1}}`, CodeInvalidJSON, "byte 6"},
		{"a raw line end in a string", "{\"a\":\"x\ny\"}", CodeInvalidJSON, "an escape"},
		{"an unknown escape", `{"a":"\x"}`, CodeInvalidJSON, "an escaped character"},
		{"half an escape", `{"a":"\u12g4"}`, CodeInvalidJSON, "a hexadecimal digit"},
		{"trailing", `{"a":1} {}`, CodeTrailingData, "follows"},
		{"deep", `{"a":` + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth) + `}`, CodeTooDeep, "32"},
		{"as deep as allowed", `{"a":` + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1) + `}`, "", ""},
		{"many members", "{" + strings.Join(many, ",") + "}", CodeTooManyValues, "256"},
		{"as many as allowed", "{" + strings.Join(many[1:], ",") + "}", "", ""},
		{"a long name", `{"` + strings.Repeat("x", 2000) + `":1}`, CodeInvalidArgument, "1024"},
		{"blanks", " {\t\"a\" :\r\n1 , \"b\": \"}\\\"{\" } \n", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Members([]byte(c.body))
			var bad *BadInput
			switch {
			case c.code == "" && err != nil:
				t.Fatal(err)
			case c.code != "" && (!errors.As(err, &bad) || bad.Code != c.code || !strings.Contains(bad.Detail, c.says)):
				t.Fatalf("got %v, %v; want %s saying %s", got, err, c.code, c.says)
			}
		})
	}
}

// FuzzMembers holds the walk against encoding/json: the same texts are objects, with the same members.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":"x\"y","c":{"d":[1,2,{}]},"e":null}`, `{}`, ` { } `, `{"a":1}x`, `{"a":1e5,"b":-0.1}`, `{"a":"\ud800"}`,
		`{"a":[]`, `{"":""}`,
		"{\"a\":\"\x00\"}", `{"a":]}`, `{"a":1 2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Members(b)
		want := map[string]json.RawMessage{}
		wantErr := json.Unmarshal(b, &want)
		if err != nil {
			var bad *BadInput
			if !errors.As(err, &bad) {
				t.Fatalf("%v is no BadInput", err)
			}
			if wantErr == nil &&
				(bad.Code == CodeInvalidJSON && bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) ||
					bad.Code == CodeTrailingData) {
				t.Fatalf("refused what is JSON: %v", err)
			}
			return
		}
		if wantErr != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %s, want %s (%v)", got, want, wantErr)
		}
	})
}
