package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"sort"
	"strings"

	"github.com/spf13/pflag"

	"scaleout/fsm/registry"
)

// Problem is one thing that is wrong with the settings.
type Problem struct {
	// Where is "MasterSettings.config:12", "environment SCALEOUT_MASTER_PORT_NUMBER" or "flag --port-number"; "" for a
	// setting that was left at its default.
	Where string
	Text  string
}

func (p Problem) String() string {
	if p.Where == "" {
		return p.Text
	}
	return p.Where + ": " + p.Text
}

// Problems is an error that lists every problem.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Setting is one setting as it stands after loading.
type Setting struct {
	Key    string
	Value  string
	Origin string // "default", "file", "environment" or "flag"
	Doc    string
	Flag   string // "" when the setting has none
	Env    string
	Type   string   // as its flag shows it
	Bounds string   // "1 to 65535", "at least 1000", "lan, fast or wan"; "" when it has none
	Other  []string // other spellings of the key
}

// Set is the settings of one kind of process. Make it with NewMaster or NewWorker.
type Set struct {
	target any
	env    string // prefix of environment variables
	fields []*field
	byKey  map[string]*field // lower-case keys and aliases
	check  func() []Problem
	flags  *pflag.FlagSet
}

type field struct {
	key, doc, flag, env string
	other               []string // more spellings of key
	value               reflect.Value
	limits              limits
	origin              string
	where               string
	changed             bool // by a flag
}

// newSet reads the struct tags of target: key (with aliases after commas), default, min, max, one of a list, doc.
func newSet(target any, env string) *Set {
	s := &Set{target: target, env: env, byKey: map[string]*field{}}
	v := reflect.ValueOf(target).Elem()
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		names := strings.Split(tag.Get("key"), ",")
		f := &field{
			key: names[0], other: names[1:], doc: tag.Get("doc"), value: v.Field(i), origin: "default",
			limits: limits{min: tag.Get("min"), max: tag.Get("max"), one: tag.Get("one")},
		}
		f.flag = kebab(f.key, '-')
		f.env = env + strings.ToUpper(kebab(f.key, '_'))
		if text, ok := tag.Lookup("default"); ok {
			if err := f.parse(text); err != nil {
				panic(fmt.Sprintf("default of %s: %v", f.key, err)) // a constant of this package
			}
		}
		s.fields = append(s.fields, f)
		for _, n := range names {
			s.byKey[strings.ToLower(n)] = f
		}
	}
	return s
}

// kebab turns PortNumber into port-number and CACertFile into ca-cert-file.
func kebab(key string, sep byte) string {
	var b strings.Builder
	upper := func(i int) bool { return i >= 0 && i < len(key) && key[i] >= 'A' && key[i] <= 'Z' }
	for i := range len(key) {
		if i > 0 && upper(i) && (!upper(i-1) || i+1 < len(key) && !upper(i+1)) {
			b.WriteByte(sep)
		}
		b.WriteByte(key[i])
	}
	return strings.ToLower(b.String())
}

// Flags adds one flag per setting.
func (s *Set) Flags(flags *pflag.FlagSet) {
	s.flags = flags
	for _, f := range s.fields {
		flags.Var(&flagValue{f}, f.flag, f.doc)
	}
}

type flagValue struct{ f *field }

func (v *flagValue) String() string {
	if v.f == nil {
		return ""
	}
	return v.f.text()
}
func (v *flagValue) Type() string { return v.f.kind() }
func (v *flagValue) Set(text string) error {
	if err := v.f.parse(text); err != nil {
		return err
	}
	v.f.changed = true
	v.f.origin, v.f.where = "flag", "flag --"+v.f.flag
	return nil
}

// Load reads the file (path may be empty) and the environment under the flags that were set, and checks the whole. The
// error is Problems, or that the file could not be read.
func (s *Set) Load(path string, lookup func(string) (string, bool)) error {
	var problems Problems
	if path != "" {
		raw, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("settings file: %w", err)
		}
		problems = append(problems, s.Parse(path, raw)...)
	}
	for _, f := range s.fields {
		text, ok := lookup(f.env)
		if !ok || f.changed {
			continue
		}
		where := "environment " + f.env
		if err := f.parse(text); err != nil {
			problems = append(problems, Problem{where, err.Error()})
			continue
		}
		f.origin, f.where = "environment", where
	}
	if len(problems) == 0 && s.check != nil {
		problems = s.check()
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// Parse reads one settings file and returns every problem in it.
func (s *Set) Parse(name string, raw []byte) []Problem {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("\xfe\xff")) {
		return []Problem{{name + ":1", "the file is UTF-16; save it as UTF-8"}}
	}
	at := func(offset int64) string {
		// InputOffset stands behind the token; a key's own line is the one on which it ends.
		return fmt.Sprintf("%s:%d", name, 1+bytes.Count(raw[:min(int(offset), len(raw))], []byte("\n")))
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	token, err := dec.Token()
	if err != nil || token != json.Delim('{') {
		return []Problem{{at(dec.InputOffset()), "want a JSON object: " + reason(err, token)}}
	}
	var problems []Problem
	seen := map[*field]string{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return append(problems, syntax(at, dec, err))
		}
		key := token.(string)
		where := at(dec.InputOffset())
		var value any
		if err := dec.Decode(&value); err != nil {
			return append(problems, syntax(at, dec, err))
		}
		f := s.byKey[strings.ToLower(key)]
		switch {
		case f == nil:
			problems = append(problems, Problem{where, fmt.Sprintf("unknown key %q%s", key, s.near(key))})
			continue
		case seen[f] != "":
			problems = append(problems, Problem{where, fmt.Sprintf("%q sets what %q has set already", key, seen[f])})
			continue
		}
		seen[f] = key
		if f.changed {
			continue
		}
		if err := f.set(value); err != nil {
			problems = append(problems, Problem{where, fmt.Sprintf("%s: %v", key, err)})
			continue
		}
		f.origin, f.where = "file", where
	}
	if _, err := dec.Token(); err != nil {
		return append(problems, syntax(at, dec, err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		problems = append(problems, Problem{at(dec.InputOffset()), "something follows the closing brace"})
	}
	return problems
}

func reason(err error, token json.Token) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("found %v", token)
}

func syntax(at func(int64) string, dec *json.Decoder, err error) Problem {
	var s *json.SyntaxError
	if errors.As(err, &s) {
		return Problem{at(s.Offset), "not valid JSON: " + s.Error()}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return Problem{at(dec.InputOffset()), "not valid JSON: the file ends too early"}
	}
	return Problem{at(dec.InputOffset()), "not valid JSON: " + err.Error()}
}

// near suggests the keys that were probably meant.
func (s *Set) near(key string) string {
	keys := make([]string, len(s.fields))
	for i, f := range s.fields {
		keys[i] = f.key
	}
	return registry.Meant(key, keys)
}

// Settings lists every setting with its value and where it came from, by key.
func (s *Set) Settings() []Setting {
	out := make([]Setting, len(s.fields))
	for i, f := range s.fields {
		out[i] = Setting{Key: f.key, Value: f.text(), Origin: f.origin, Doc: f.doc, Flag: f.flag, Env: f.env,
			Type: f.kind(), Bounds: f.limits.String(), Other: f.other}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

// missing is the problem of a setting that must be set, with the ways to set it.
func (s *Set) missing(key, wanted string) Problem {
	f := s.byKey[strings.ToLower(key)]
	return s.Problem(key, "%s, in the file, by --%s or by %s", wanted, f.flag, f.env)
}

// Problem is a problem of a setting, with the place where it was set. The key must be one of the set's.
func (s *Set) Problem(key, format string, args ...any) Problem {
	f := s.byKey[strings.ToLower(key)]
	return Problem{f.where, f.key + ": " + fmt.Sprintf(format, args...)}
}
