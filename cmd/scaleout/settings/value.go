package settings

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Timespan is a duration as the product writes it: "[d.]hh:mm:ss[.fff]"; Go's "90s" is taken too.
type Timespan time.Duration

// Millis is a duration given as a number of milliseconds (keys that end in InMs).
type Millis time.Duration

// Size is a number of bytes; "512MiB" and "64KiB" are taken too.
type Size int64

// Runners maps a package's extension (".py") to the command that runs it, the program first.
type Runners map[string][]string

type limits struct{ min, max, one string }

// String is the limits in words, "" when there are none.
func (l limits) String() string {
	switch {
	case l.one != "":
		names := strings.Split(l.one, ",")
		return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	case l.min != "" && l.max != "":
		return l.min + " to " + l.max
	case l.min != "":
		return "at least " + l.min
	case l.max != "":
		return "at most " + l.max
	}
	return ""
}

func (f *field) kind() string {
	switch f.value.Interface().(type) {
	case Timespan:
		return "hh:mm:ss"
	case Millis:
		return "milliseconds"
	case Size:
		return "bytes"
	case []string:
		return "a,b,…"
	case Runners:
		return "json"
	case float64:
		return "number"
	}
	return f.value.Kind().String()
}

// set takes a decoded JSON value.
func (f *field) set(v any) error {
	switch v := v.(type) {
	case string:
		return f.parse(v)
	case json.Number:
		if f.value.Kind() == reflect.String {
			return fmt.Errorf("want a text, found the number %s", v)
		}
		return f.parse(v.String())
	case bool:
		if f.value.Kind() != reflect.Bool {
			return fmt.Errorf("want %s, found %v", f.kind(), v)
		}
		f.value.SetBool(v)
		return nil
	case nil:
		return fmt.Errorf("want %s, found null; leave the key out for the default", f.kind())
	case []any:
		if _, ok := f.value.Interface().([]string); !ok {
			return fmt.Errorf("want %s, found a list", f.kind())
		}
		parts := make([]string, len(v))
		for i, p := range v {
			text, ok := p.(string)
			if !ok {
				return fmt.Errorf("item %d: want a text, found %v", i+1, p)
			}
			parts[i] = text
		}
		f.value.Set(reflect.ValueOf(parts))
		return nil
	case map[string]any:
		if _, ok := f.value.Interface().(Runners); !ok {
			return fmt.Errorf("want %s, found an object", f.kind())
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return f.parse(string(raw))
	}
	return fmt.Errorf("want %s", f.kind())
}

// parse takes text: a flag, an environment variable or a JSON string.
func (f *field) parse(text string) error {
	switch f.value.Interface().(type) {
	case Timespan:
		d, err := ParseTimespan(text)
		if err != nil {
			return err
		}
		if err := f.limits.duration(d); err != nil {
			return err
		}
		f.value.SetInt(int64(d))
		return nil
	case Millis:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n > math.MaxInt64/int64(time.Millisecond) {
			return fmt.Errorf("%q is not a number of milliseconds", text)
		}
		if err := f.limits.number(float64(n)); err != nil {
			return err
		}
		f.value.SetInt(n * int64(time.Millisecond))
		return nil
	case Size:
		n, err := parseSize(text)
		if err != nil {
			return err
		}
		if err := f.limits.number(float64(n)); err != nil {
			return err
		}
		f.value.SetInt(n)
		return nil
	case []string:
		var parts []string
		for p := range strings.SplitSeq(text, ",") {
			if p = strings.TrimSpace(p); p != "" {
				parts = append(parts, p)
			}
		}
		f.value.Set(reflect.ValueOf(parts))
		return nil
	case Runners:
		r, err := parseRunners(text)
		if err != nil {
			return err
		}
		f.value.Set(reflect.ValueOf(r))
		return nil
	}
	switch f.value.Kind() {
	case reflect.String:
		if one := f.limits.one; one != "" && !slices.Contains(strings.Split(one, ","), text) {
			return fmt.Errorf("%q is not one of %s", text, strings.ReplaceAll(one, ",", ", "))
		}
		f.value.SetString(text)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		if err := f.limits.number(float64(n)); err != nil {
			return err
		}
		f.value.SetInt(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return fmt.Errorf("%q is not a number", text)
		}
		if err := f.limits.number(n); err != nil {
			return err
		}
		f.value.SetFloat(n)
	case reflect.Bool:
		b, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		f.value.SetBool(b)
	}
	return nil
}

func (l limits) number(n float64) error {
	if low, err := strconv.ParseFloat(l.min, 64); err == nil && n < low {
		return fmt.Errorf("%v is less than %s", n, l.min)
	}
	if high, err := strconv.ParseFloat(l.max, 64); err == nil && n > high {
		return fmt.Errorf("%v is more than %s", n, l.max)
	}
	return nil
}

func (l limits) duration(d time.Duration) error {
	if low, err := time.ParseDuration(l.min); err == nil && d < low {
		return fmt.Errorf("%v is less than %v", d, low)
	}
	if high, err := time.ParseDuration(l.max); err == nil && d > high {
		return fmt.Errorf("%v is more than %v", d, high)
	}
	return nil
}

// ParseTimespan reads "[d.]hh:mm:ss[.fff]" or a Go duration.
func ParseTimespan(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a time span; write hh:mm:ss, d.hh:mm:ss or a number with a unit such as 90s", text)
	if !strings.Contains(text, ":") {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return 0, bad
		}
		return d, nil
	}
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return 0, bad
	}
	days, hours, found := strings.Cut(parts[0], ".")
	if !found {
		days, hours = "0", parts[0]
	}
	seconds, fraction, _ := strings.Cut(parts[2], ".")
	var total time.Duration
	for _, p := range []struct {
		text string
		unit time.Duration
		most uint64
	}{{days, 24 * time.Hour, 10000}, {hours, time.Hour, 23}, {parts[1], time.Minute, 59}, {seconds, time.Second, 59}} {
		n, err := strconv.ParseUint(p.text, 10, 32)
		if err != nil || n > p.most {
			return 0, bad
		}
		total += time.Duration(n) * p.unit
	}
	if fraction != "" {
		if len(fraction) > 9 {
			return 0, bad
		}
		n, err := strconv.ParseUint(fraction+strings.Repeat("0", 9-len(fraction)), 10, 64)
		if err != nil {
			return 0, bad
		}
		total += time.Duration(n)
	}
	return total, nil
}

func parseSize(text string) (int64, error) {
	units := []struct {
		name string
		n    int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}, {"", 1}}
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err == nil && n >= 0 && n <= math.MaxInt64/u.n {
			return n * u.n, nil
		}
	}
	return 0, fmt.Errorf("%q is not a size; write bytes, or a number with KiB, MiB or GiB", text)
}

func parseRunners(text string) (Runners, error) {
	var loose map[string]any
	if err := json.Unmarshal([]byte(text), &loose); err != nil {
		return nil, fmt.Errorf(`want an object such as {".py": ["python3"]}: %w`, err)
	}
	out := Runners{}
	for extension, v := range loose {
		if len(extension) < 2 || extension[0] != '.' || strings.ContainsAny(extension[1:], `./\ `) {
			return nil, fmt.Errorf(`%q is not an extension such as ".py"`, extension)
		}
		var words []string
		switch v := v.(type) {
		case string:
			words = []string{v}
		case []any:
			for _, w := range v {
				word, ok := w.(string)
				if !ok {
					return nil, fmt.Errorf("%s: want texts, found %v", extension, w)
				}
				words = append(words, word)
			}
		default:
			return nil, fmt.Errorf("%s: want the program and its arguments, found %v", extension, v)
		}
		if len(words) == 0 || words[0] == "" {
			return nil, fmt.Errorf("%s: the program is missing", extension)
		}
		out[strings.ToLower(extension)] = words
	}
	return out, nil
}

// text is the value as the file would have it.
func (f *field) text() string {
	switch v := f.value.Interface().(type) {
	case Timespan:
		return formatTimespan(time.Duration(v))
	case Millis:
		return strconv.FormatInt(time.Duration(v).Milliseconds(), 10)
	case []string:
		return strings.Join(v, ",")
	case Runners:
		if len(v) == 0 {
			return ""
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(raw)
	}
	return fmt.Sprint(f.value.Interface())
}

func formatTimespan(d time.Duration) string {
	days := d / (24 * time.Hour)
	d -= days * 24 * time.Hour
	text := fmt.Sprintf("%02d:%02d:%02d", d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second)
	if days > 0 {
		text = fmt.Sprintf("%d.%s", days, text)
	}
	if fraction := d % time.Second; fraction > 0 {
		text += "." + strings.TrimRight(fmt.Sprintf("%09d", fraction), "0")
	}
	return text
}
