package httpapi

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
	"scaleout/fsm/view"
	"scaleout/httpapi/wire"
)

func readDocument(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// rows are the rows of the tables in a section, without the head; cells are as they stand there.
func rows(t *testing.T, text, section string) (list [][]string) {
	t.Helper()
	_, text, ok := strings.Cut(text, "\n## "+section+"\n")
	if !ok {
		t.Fatalf("there is no section %q", section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	head := true
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			head = true
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if head {
			head = false
			continue
		}
		if !strings.HasPrefix(cells[0], "---") {
			list = append(list, cells)
		}
	}
	return list
}

// who is an access as docs/roles.md says it.
func who(a access) string {
	if a.open {
		return "anybody"
	}
	if len(a.kinds) == 0 {
		return "any certificate"
	}
	var parts []string
	for _, k := range a.kinds {
		switch {
		case k != "user":
			parts = append(parts, k+"s")
		case a.may == nil:
			parts = append(parts, "any user")
		default:
			parts = append(parts, permitted(a.may))
		}
	}
	return strings.Join(parts, ", ")
}

func quoted(roles []string) string { return "`" + strings.Join(roles, "`, `") + "`" }

func permitted(p command.Permission) string {
	if len(catalog.Roles(p)) == 0 {
		return "any user"
	}
	return quoted(catalog.Roles(p))
}

func TestRolesDocument(t *testing.T) {
	want := map[string][]string{}
	for _, rt := range newWorld(t, 1).nodes[0].api.routes() {
		want["Routes"] = append(want["Routes"], "| `"+rt.method+" "+rt.path+"` | "+who(rt.who)+" |")
	}
	for _, p := range procedure.All() {
		want["Procedures"] = append(want["Procedures"], "| `"+p.Name+"` | "+permitted(p.Permission)+" |")
	}
	for _, v := range view.All() {
		want["Views"] = append(want["Views"], "| `"+v.Name+"` | "+permitted(v.Permission)+" |")
	}
	text := readDocument(t, "roles.md")
	for section, list := range want {
		t.Run(section, func(t *testing.T) {
			var have []string
			for _, cells := range rows(t, text, section) {
				have = append(have, "| "+strings.Join(cells, " | ")+" |")
			}
			if !slices.Equal(have, list) {
				t.Errorf("docs/roles.md should have\n%s", strings.Join(list, "\n"))
			}
		})
	}
}

// The guide names every route, with who answers it, and every code that is not one of errors.md, with its status.
func TestGuideIsComplete(t *testing.T) {
	text := readDocument(t, "api.md")
	t.Run("routes", func(t *testing.T) {
		here := map[string]string{}
		for _, cells := range rows(t, text, "Routes") {
			here[cells[0]] = cells[1]
		}
		for _, rt := range newWorld(t, 1).nodes[0].api.routes() {
			name, want := "`"+rt.method+" "+rt.path+"`", "here"
			switch rt.name {
			case "view", "cluster":
				want = "if stale"
			default:
				if rt.here == nil {
					want = ""
				}
			}
			if got, ok := here[name]; !ok || got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
			delete(here, name)
		}
		if len(here) > 0 {
			t.Errorf("not there: %v", here)
		}
	})
	t.Run("codes", func(t *testing.T) {
		have := map[string]int{}
		for _, cells := range rows(t, text, "Errors") {
			status, err := strconv.Atoi(cells[0])
			if err != nil {
				t.Fatal(cells)
			}
			for _, m := range regexp.MustCompile("`([a-z_0-9]+)`").FindAllStringSubmatch(cells[1], -1) {
				have[m[1]] = status
			}
		}
		want := map[string]int{ // of wire.BadInput
			"invalid_json": 400, "unknown_field": 400, "trailing_data": 400, "too_deep": 400, "too_many_values": 400,
			"body_too_large": 413,
			"internal_error": 500,
		}
		refusals := map[string]int{} // in errors.md
		for _, c := range registry.Codes() {
			refusals[c.Name] = c.Status
		}
		for _, k := range kinds {
			if status, ok := refusals[k.code]; !ok {
				want[k.code] = k.status
			} else if status != k.status {
				t.Errorf("%s: the table of codes has the status %d, that of kinds %d", k.code, status, k.status)
			}
		}
		for code, status := range want {
			if have[code] != status {
				t.Errorf("%s: %d, want %d", code, have[code], status)
			}
			delete(have, code)
		}
		if len(have) > 0 {
			t.Errorf("there are no such codes: %v", have)
		}
	})
	t.Run("events", func(t *testing.T) {
		for _, e := range catalog.EventTypes() {
			if !strings.Contains(text, "`"+e.Name+"`") {
				t.Errorf("%s is missing", e.Name)
			}
			if row := "\n| `" + e.Name + "` | " + e.Detail + " |\n"; e.Detail != "" && !strings.Contains(text, row) {
				t.Errorf("the row %q is missing", row)
			}
		}
	})
}

func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func size(n int64) string {
	for _, u := range []struct {
		n    int64
		name string
	}{{1 << 30, " GiB"}, {1 << 20, " MiB"}, {1 << 10, " KiB"}} {
		if n >= u.n && n%u.n == 0 {
			return count(n/u.n) + u.name
		}
	}
	return count(n) + " bytes"
}

// The bounds of requests that no setting changes are those of the code.
func TestLimitsDocument(t *testing.T) {
	text := readDocument(t, "limits.md")
	for _, row := range []string{
		"| body of a procedure call | " + size(callBody) + "; " + size(fileBody) + " where",
		"| project file within a call | " + size(sqltype.MaxBinary) + " |",
		"| body of a registration or exchange; of messages | " + size(workerBody) + "; " + size(messagesBody) + " |",
		"| JSON | " + count(wire.MaxDepth) + " levels, " + count(wire.MaxValues) + " values; " + count(wire.MaxMembers) +
			" parameters of a procedure |",
		"| page of a view | " + count(view.MaxPageSize) + " rows, " + count(view.DefaultPageSize) + " by default |",
		"| rows that one query reads | " + count(view.MaxScan) + " |",
		"| an event stream | " + strconv.Itoa(int(eventStreamMost.Hours())) + " h |",
		"| attempts in one list of an exchange; messages in one request | " + count(wire.MaxAttempts) + "; " +
			count(wire.MaxMessages) + " in " + count(wire.MaxMessageItems) + " items |",
		"| text of a message or report | " + size(wire.MaxTextBytes) + " |",
		"| names in a worker's registration | " + count(wire.MaxNameBytes) + " bytes |",
		"| `retry_count` | " + count(catalog.MaxRetryCount) + " |",
		"| attempts that workers hand back, in a row | " + count(catalog.MostReturned) + " |",
	} {
		if !strings.Contains(text, "\n"+row) {
			t.Errorf("docs/limits.md does not have %q", row)
		}
	}
}
