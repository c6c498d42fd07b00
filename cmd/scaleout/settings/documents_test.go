package settings

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// amount reads what a document says of a number, size or time: "1,024", "64 MiB", "24 h". Times are in milliseconds.
func amount(text string) (int64, bool) {
	m := regexp.MustCompile(`^([0-9,]+)(?: (KiB|MiB|GiB|ms|s|min|h|days))?$`).FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
	unit := map[string]int64{
		"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000,
		"days": 86_400_000,
	}
	return n * unit[m[2]], err == nil
}

// number is a setting's value as amount reads it.
func (f *field) number() (int64, bool) {
	switch v := f.value.Interface().(type) {
	case int:
		return int64(v), true
	case Size:
		return int64(v), true
	case Millis:
		return time.Duration(v).Milliseconds(), true
	case Timespan:
		return time.Duration(v).Milliseconds(), true
	}
	return 0, false
}

// What a document's table says a setting's default is, it is; and docs/limits.md has every bound.
func TestDefaultsInDocuments(t *testing.T) {
	sets := []*Set{NewMaster(new(Master)), NewWorker(new(Worker))}
	found := map[string]bool{}
	row := regexp.MustCompile("(?m)^\\| `([A-Z][A-Za-z]+)` \\| ([^|]+) \\|")
	for _, name := range []string{"limits.md", "operations.md", "reliability.md", "packages.md"} {
		raw, err := os.ReadFile("../../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range row.FindAllStringSubmatch(string(raw), -1) {
			key, said := m[1], m[2]
			said, _, _ = strings.Cut(said, " (") // what it means, for people
			for _, s := range sets {
				f := s.byKey[strings.ToLower(key)]
				if f == nil {
					continue
				}
				want, numeric := f.number()
				if have, ok := amount(said); numeric && (!ok || have != want) {
					t.Errorf("docs/%s: %s is %s, the default is %s", name, key, said, f.text())
				}
				if name == "limits.md" {
					found[f.key] = true
				}
				break
			}
		}
	}
	for _, f := range sets[0].fields {
		bound := strings.HasPrefix(f.key, "Max") || strings.HasPrefix(f.key, "Min") || strings.Contains(f.key, "Timeout") &&
			f.key != "SqlConnectionTimeoutInSecs"
		if bound && !found[f.key] {
			t.Errorf("docs/limits.md does not have %s", f.key)
		}
	}
}
