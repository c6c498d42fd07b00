package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"scaleout/fsm/sqltype"
)

// withDeclarations is withOrders for a package that asks for more.
func withDeclarations() *fakeMaster {
	f := withOrders("")
	f.views["object_parameters"] = func(*http.Request) ([]map[string]any, string) {
		return []map[string]any{
			{"object_type": 20, "object_name": "Sales", "parameter_name": "Limit", "data_type": "Int32"},
			{"object_type": 20, "object_name": "Sales", "parameter_name": "Password", "data_type": "Int32", "sensitive": true},
			{"object_type": 30, "object_name": "Load.dtsx", "parameter_name": "Day", "data_type": "DateTime", "required": true},
			{"object_type": 30, "object_name": "Load.dtsx", "parameter_name": "Code", "data_type": "String"},
			{"object_type": 30, "object_name": "Other.dtsx", "parameter_name": "Rows", "data_type": "Int32", "required": true},
		}, ""
	}
	f.views["folders"] = named(map[string]any{"folder_id": 1, "name": "ETL"})
	f.views["projects"] = named(map[string]any{"project_id": 2, "name": "Sales"})
	return f
}

// named is a view of one row that takes a filter by name.
func named(row map[string]any) func(*http.Request) ([]map[string]any, string) {
	return func(r *http.Request) ([]map[string]any, string) {
		if want := r.URL.Query().Get("name"); want != "" && !sqltype.EqualText(want, fmt.Sprint(row["name"])) {
			return nil, ""
		}
		return []map[string]any{row}, ""
	}
}

func TestATypoLeavesNothing(t *testing.T) {
	const good = "Day=2026-01-31"
	for _, test := range []struct {
		name, path string
		order      order
		says       []string
	}{
		{"folder", "ELT/Sales/Load.dtsx", order{params: []string{good}}, []string{`no folder "ELT"; did you mean ETL?`}},
		{"project", "ETL/Sails/Load.dtsx", order{params: []string{good}},
			[]string{`the folder "ETL" has no project "Sails"; did you mean Sales?`}},
		{"package", "ETL/Sales/Laod.dtsx", order{params: []string{good}},
			[]string{`the project "Sales" has no package "Laod.dtsx"; did you mean Load.dtsx?`}},
		{"another package", "ETL/Sales/x", order{params: []string{good}},
			[]string{`has no package "x"; there are Load.dtsx, Other.dtsx`}},
		{"parameter", "ETL/Sales/Load.dtsx", order{params: []string{"Dya=2026-01-31"}},
			[]string{`--param: the package "Load.dtsx" has no parameter "Dya"; did you mean Day?`,
				"the package parameter Day (DateTime, required) has no value: --param Day=VALUE"}},
		{"parameter that nothing is like", "ETL/Sales/Load.dtsx", order{params: []string{good, "Colour=red"}},
			[]string{"there are Day, Code"}},
		{"parameter of another package", "ETL/Sales/Load.dtsx", order{params: []string{good, "Rows=1"}},
			[]string{`--param: the package "Load.dtsx" has no parameter "Rows"`}},
		{"project parameter as one of the package", "ETL/Sales/Load.dtsx", order{params: []string{good, "limit=1"}},
			[]string{`has no parameter "limit"; Limit is a project parameter: use --project-param`}},
		{"package parameter as one of the project", "ETL/Sales/Load.dtsx", order{projectParams: []string{"Day=2026-01-31"}},
			[]string{`the project "Sales" has no parameter "Day"; Day is a package parameter: use --param`}},
		{"type", "ETL/Sales/Load.dtsx", order{params: []string{good}, projectParams: []string{"Limit=many"}},
			[]string{`--project-param: the value of Limit: "many" is not a valid Int32`}},
		{"date", "ETL/Sales/Load.dtsx", order{params: []string{"Day=31.1.2026"}},
			[]string{`"31.1.2026" is not a valid DateTime`, "2017-05-30T08:14:00"}},
		{"required", "ETL/Sales/Load.dtsx", order{}, []string{"Day (DateTime, required) has no value: --param Day=VALUE"}},
		{"option", "ETL/Sales/Load.dtsx", order{params: []string{good}, options: []string{"LOGING_LEVEL=1"}},
			[]string{`--option: there is no server option "LOGING_LEVEL"`, "did you mean LOGGING_LEVEL?"}},
		{"option's value", "ETL/Sales/Load.dtsx", order{params: []string{good}, options: []string{"LOGGING_LEVEL=9"}},
			[]string{"--option: the option LOGGING_LEVEL", "3 verbose"}},
		{"all at once", "ETL/Sales/Load.dtsx", order{params: []string{"Dya=1"}, projectParams: []string{"Limit=x"}},
			[]string{"Dya", "Limit", "required"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := withDeclarations()
			if err := test.order.parse(test.path); err != nil {
				t.Fatal(err)
			}
			_, err := test.order.create(t.Context(), f.client(t))
			for _, want := range test.says {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in: %v", want, err)
				}
			}
			if len(f.calls) > 0 {
				t.Errorf("%s was called", f.calls[0].procedure)
			}
		})
	}
}

// The masters compare names without case and without blanks at the end, and so does the check.
func TestTheCheckComparesNamesAsTheMastersDo(t *testing.T) {
	f := withDeclarations()
	o := order{params: []string{"day =2026-01-31"}, projectParams: []string{"LIMIT=1"}}
	if err := o.parse("etl/SALES/load.DTSX "); err != nil {
		t.Fatal(err)
	}
	if _, err := o.create(t.Context(), f.client(t)); err != nil {
		t.Fatal(err)
	}
	twice := order{params: []string{"Day=2026-01-31", "day =2026-01-31"}}
	if err := twice.parse("ETL/Sales/Load.dtsx"); err == nil || !strings.Contains(err.Error(), "is given twice") {
		t.Error(err)
	}
}

func TestASecretOfTheWrongTypeIsNotShown(t *testing.T) {
	f := withDeclarations()
	o := order{params: []string{"Day=2026-01-31"}, projectParams: []string{"Password=hunter2"}}
	if err := o.parse("ETL/Sales/Load.dtsx"); err != nil {
		t.Fatal(err)
	}
	_, err := o.create(t.Context(), f.client(t))
	if err == nil || strings.Contains(err.Error(), "hunter2") ||
		!strings.Contains(err.Error(),
			"--project-param: the value of the sensitive parameter Password is not a valid Int32") {
		t.Errorf("%v", err)
	}
}

func TestTimesWithAnOffset(t *testing.T) {
	for text, says := range map[string]string{
		"2026-01-31T00:30:00+02:00": "Day is stored as 2026-01-30T22:30:00, in UTC: a DateTime has no offset",
		"2026-01-31 22:30:00-05:00": "Day is stored as 2026-02-01T03:30:00, in UTC: a DateTime has no offset",
		"2026-01-31T00:30:00Z":      "Day is stored as 2026-01-31T00:30:00, in UTC: a DateTime has no offset",
		"2026-01-31T00:30:00":       "",
		"2026-01-31":                "",
	} {
		t.Run(text, func(t *testing.T) {
			f := withDeclarations()
			said := ""
			o := order{params: []string{"Day=" + text},
				note: func(format string, args ...any) { said += fmt.Sprintf(format, args...) }}
			if err := o.parse("ETL/Sales/Load.dtsx"); err != nil {
				t.Fatal(err)
			}
			if _, err := o.create(t.Context(), f.client(t)); err != nil || said != says {
				t.Errorf("%q, want %q (%v)", said, says, err)
			}
		})
	}
}
