package registry_test

import (
	"strings"
	"testing"

	"scaleout/fsm/registry"
)

func TestHint(t *testing.T) {
	for _, c := range []struct{ name, given, names, want string }{
		{"no names", "x", "", "; it has none"},
		{"one name", "x", "Load.dtsx", "; there is Load.dtsx"},
		{"nothing near", "x", "Load.dtsx Other.dtsx", "; there are Load.dtsx, Other.dtsx"},
		{"a letter missing", "LOGING_LEVEL", "CALLER_INFO LOGGING_LEVEL", "; did you mean LOGGING_LEVEL?"},
		{"two letters swapped", "mastr-2", "master-1 master-2", "; did you mean master-2?"},
		{"swapped in a short name", "Dya", "Day Code", "; did you mean Day?"},
		{"the nearest alone", "Sails", "Salt Sales Sail", "; did you mean Sail?"},
		{"two equally near", "gte", "ne lt le gt ge like", "; did you mean gt or ge?"},
		{"three equally near", "worker-9", "worker-1 worker-2 worker-3",
			"; did you mean worker-1, worker-2 or worker-3?"},
		{"too many equally near", "worker-9", "worker-1 worker-2 worker-3 worker-4",
			"; there are worker-1, worker-2, worker-3, worker-4"},
		{"a short name is another name", "eq", "ne lt le gt ge like", "; there are ne, lt, le, gt, ge, like"},
		{"a short flag is another flag", "--yes", "--key --limit", "; there are --key, --limit"},
		{"a flag", "--limt", "--key --limit", "; did you mean --limit?"},
		{"a letter is another letter", "a", "b c", "; there are b, c"},
		{"case", "MASTER-2", "master-1 master-2", "; did you mean master-2?"},
		{"characters, not bytes", "Übersict", "Übersicht Lager", "; did you mean Übersicht?"},
		{"a prefix", "@folder_name", "folder_name", "; write folder_name, without a prefix"},
		{"the schema in brackets", "[catalog].[folders]", "folders", "; write folders, without a prefix"},
		{"three edits in a long name", "MaxConectonsPerAdress", "MaxConnectionsPerAddress", // three letters are missing
			"; did you mean MaxConnectionsPerAddress?"},
		{"three edits in a name of middle length", "exection", "execute", "; there is execute"},
	} {
		t.Run(c.name, func(t *testing.T) {
			names := strings.Fields(c.names)
			have := registry.Hint(c.given, names)
			if have != c.want {
				t.Errorf("%q, want %q", have, c.want)
			}
			lists := strings.HasPrefix(have, "; there ") || strings.HasPrefix(have, "; it has")
			if meant := registry.Meant(c.given, names); lists && meant != "" || !lists && meant != have {
				t.Errorf("Meant: %q", meant)
			}
		})
	}
}
