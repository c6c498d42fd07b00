package httpapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3gen"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/sqltype"
	"scaleout/fsm/view"
	"scaleout/httpapi/wire"
)

var update = flag.Bool("update", false, "write the generated document openapi.json anew")

// TestOpenAPIDocument compares the embedded document with the declarations of routes, procedures and views.
func TestOpenAPIDocument(t *testing.T) {
	doc, err := describe((&API{}).routes())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("the document is not valid: %v", err)
	}
	want, err := printed(doc)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if n := bytes.Count(openAPIDocument, []byte(openAPIVersion)); n != 1 {
		t.Errorf("the version has %d places in openapi.json; want one", n)
	}
	if bytes.Equal(openAPIDocument, want) {
		return
	}
	have, lines := strings.Split(string(openAPIDocument), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(have), len(lines)) {
		if have[i] != lines[i] {
			t.Fatalf("openapi.json, line %d: %s; the declarations say %s. 'make docs' writes it anew", i+1, have[i], lines[i])
		}
	}
	t.Fatalf("openapi.json has %d lines, the declarations make %d. 'make docs' writes it anew", len(have), len(lines))
}

func TestTheVersionOfTheProgramIsShown(t *testing.T) {
	for version, want := range map[string]string{"1.2.3": "1.2.3", "": "unknown", `1"2`: `1"2`} {
		raw, err := openAPI(version)
		if err != nil {
			t.Fatal(err)
		}
		var doc openapi3.T
		if err := json.Unmarshal(raw, &doc); err != nil || doc.Info.Version != want {
			t.Errorf("%q: %v, version %q; want %q", version, err, doc.Info.Version, want)
		}
	}
}

// printed writes the document for people and for differences: a line for each value. JSON knows no comments; what is
// generated says so in an extension.
func printed(doc *openapi3.T) ([]byte, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	out := bytes.NewBufferString("{\"x-generated\": \"by 'make docs': change the declarations, not this file\",\n")
	var indented bytes.Buffer
	if err := json.Indent(&indented, raw, "", " "); err != nil {
		return nil, err
	}
	out.Write(bytes.TrimPrefix(indented.Bytes(), []byte("{\n")))
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// describe makes the OpenAPI document of a route table. Every procedure and every view stands in it as a path of its
// own, with the types of the registry.
func describe(routes []route) (*openapi3.T, error) {
	var version string
	if err := json.Unmarshal([]byte(openAPIVersion), &version); err != nil {
		return nil, err
	}
	d := &description{doc: &openapi3.T{
		OpenAPI: "3.0.3",
		Info: &openapi3.Info{
			Title: "Scale Out Master", Version: version,
			Description: "The catalog, the workers' exchange and the operations of a Scale Out cluster. " +
				"Callers are known by their client certificates (TLS 1.3).",
		},
		Paths:      openapi3.NewPaths(),
		Components: &openapi3.Components{Schemas: openapi3.Schemas{}, Responses: openapi3.ResponseBodies{}},
	}}
	problem, err := d.schema(wire.Problem{})
	if err != nil {
		return nil, err
	}
	d.doc.Components.Schemas["Problem"] = problem
	reference := &openapi3.SchemaRef{Ref: "#/components/schemas/Problem", Value: problem.Value}
	d.doc.Components.Responses["Problem"] = &openapi3.ResponseRef{Value: openapi3.NewResponse().
		WithDescription("What went wrong: code for programs, detail for people.").
		WithContent(openapi3.NewContentWithSchemaRef(reference, []string{wire.ContentProblem}))}
	for i := range routes {
		if err := d.add(&routes[i]); err != nil {
			return nil, fmt.Errorf("describe the route %s: %w", routes[i].name, err)
		}
	}
	return d.doc, nil
}

type description struct{ doc *openapi3.T }

// schema describes a type of package wire.
func (d *description) schema(v any) (*openapi3.SchemaRef, error) {
	return openapi3gen.NewSchemaRefForValue(v, nil)
}

func (d *description) add(rt *route) error {
	switch rt.name {
	case "view":
		for _, v := range view.All() {
			d.addView(rt, v)
		}
		return nil
	case "procedure":
		for _, p := range procedure.All() {
			if err := d.addProcedure(rt, p); err != nil {
				return err
			}
		}
		return nil
	}
	op := d.operation(rt, rt.name, rt.doc)
	for _, part := range strings.Split(rt.path, "/") {
		if strings.HasPrefix(part, "{") {
			p := openapi3.NewPathParameter(strings.Trim(part, "{}"))
			op.AddParameter(p.WithSchema(openapi3.NewStringSchema()))
		}
	}
	switch {
	case rt.request != nil:
		s, err := d.schema(rt.request)
		if err != nil {
			return err
		}
		op.RequestBody = requestBody(openapi3.NewRequestBody().WithRequired(true).WithJSONSchemaRef(s))
	case rt.requests != "":
		s := openapi3.NewStringSchema().WithFormat("binary")
		content := openapi3.NewContentWithSchema(s, []string{rt.requests})
		op.RequestBody = requestBody(openapi3.NewRequestBody().WithRequired(true).WithContent(content))
	}
	ok := openapi3.NewResponse().WithDescription("Done.")
	status := http.StatusOK
	switch {
	case rt.response != nil:
		s, err := d.schema(rt.response)
		if err != nil {
			return err
		}
		ok = ok.WithJSONSchemaRef(s)
	case rt.media == "application/json":
		ok = ok.WithJSONSchema(openapi3.NewObjectSchema())
	case rt.media != "":
		ok = ok.WithContent(openapi3.NewContentWithSchema(openapi3.NewStringSchema(), []string{rt.media}))
	default:
		status = http.StatusNoContent
	}
	op.AddResponse(status, ok)
	d.doc.AddOperation(rt.path, rt.method, op)
	return nil
}

func requestBody(b *openapi3.RequestBody) *openapi3.RequestBodyRef {
	return &openapi3.RequestBodyRef{Value: b}
}

func (d *description) operation(rt *route, id, doc string) *openapi3.Operation {
	op := openapi3.NewOperation()
	op.OperationID, op.Summary, op.Description = id, doc, whoMay(rt.who)
	op.Responses = openapi3.NewResponses(openapi3.WithName("default", nil))
	op.Responses.Set("default", &openapi3.ResponseRef{
		Ref: "#/components/responses/Problem", Value: d.doc.Components.Responses["Problem"].Value,
	})
	for _, q := range rt.query {
		p := openapi3.NewQueryParameter(q.name).WithDescription(q.doc)
		switch q.kind {
		case "integer":
			p = p.WithSchema(openapi3.NewInt64Schema())
		case "boolean":
			p = p.WithSchema(openapi3.NewBoolSchema())
		default:
			p = p.WithSchema(openapi3.NewStringSchema())
		}
		op.AddParameter(p)
	}
	return op
}

func whoMay(w access) string {
	switch {
	case w.open:
		return "Open to anybody."
	case len(w.kinds) == 0:
		return "For any certificate of the cluster."
	case w.may != nil:
		text := rolesOf(w.may)
		if others := slices.DeleteFunc(slices.Clone(w.kinds), func(k string) bool { return k == "user" }); len(others) > 0 {
			text += " Also for certificates of kind " + strings.Join(others, ", ") + "."
		}
		return text
	}
	return "For certificates of kind " + strings.Join(w.kinds, ", ") + "."
}

func rolesOf(p command.Permission) string {
	if len(catalog.Roles(p)) == 0 {
		return "For any user."
	}
	return "For users with " + strings.Join(catalog.Roles(p), " or ") + "; an administrator may always."
}

func (d *description) addView(rt *route, v *view.View) {
	op := d.operation(rt, "view_"+v.Name, v.Doc)
	op.Description, op.Tags = rolesOf(v.Permission), []string{"views"}
	row := openapi3.NewObjectSchema()
	for _, c := range v.Columns {
		s := sqlSchema(c.Type)
		s.Nullable, s.Description = c.Nullable, c.Doc
		row.WithProperty(c.Name, s)
		if !slices.ContainsFunc(rt.query, func(q queryParameter) bool { return q.name == c.Name }) {
			op.AddParameter(openapi3.NewQueryParameter(c.Name).
				WithSchema(openapi3.NewArraySchema().WithItems(openapi3.NewStringSchema())).
				WithDescription("keep rows whose " + c.Name + " is one of the values; null is IS NULL. " + c.Name +
					".ne, .lt, .le, .gt, .ge and .like compare in other ways"))
		}
	}
	page := openapi3.NewObjectSchema().
		WithProperty("index", openapi3.NewInt64Schema()).
		WithProperty("columns", openapi3.NewArraySchema().WithItems(openapi3.NewObjectSchema().
			WithProperty("name", openapi3.NewStringSchema()).WithProperty("type", openapi3.NewStringSchema()))).
		WithProperty("rows", openapi3.NewArraySchema().WithItems(row)).
		WithProperty("next_page_token", openapi3.NewStringSchema())
	if v.Source == view.FromSegments {
		page.WithProperty("messages", messagesSchema())
	}
	op.AddResponse(http.StatusOK, openapi3.NewResponse().WithDescription("A page of rows.").WithJSONSchema(page))
	d.doc.AddOperation(strings.Replace(rt.path, "{view}", v.Name, 1), rt.method, op)
}

// messagesSchema describes wire.MessagesState.
func messagesSchema() *openapi3.Schema {
	s := openapi3.NewObjectSchema().
		WithProperty("complete", openapi3.NewBoolSchema()).
		WithProperty("ended", openapi3.NewBoolSchema()).
		WithProperty("missing", openapi3.NewInt64Schema()).
		WithProperty("lost_attempts", openapi3.NewIntegerSchema())
	s.Description = "There when one operation was asked for. Complete: it has ended and no message of it will come any " +
		"more; missing counts the messages that workers have announced and that have not come in, lost_attempts the " +
		"attempts whose last messages may never come."
	return s
}

func (d *description) addProcedure(rt *route, p *procedure.Procedure) error {
	op := d.operation(rt, p.Name, p.Doc)
	op.Description, op.Tags = rolesOf(p.Permission), []string{"procedures"}
	if codes := p.Codes(); len(codes) > 0 {
		op.Description += " Its own rules refuse with " + strings.Join(codes, ", ") + "."
	}
	op.AddParameter(openapi3.NewHeaderParameter(wire.HeaderKey).WithSchema(openapi3.NewStringSchema().WithMaxLength(128)).
		WithDescription("the same key of the same caller gets the first answer again, for 24 hours"))
	args, outputs := openapi3.NewObjectSchema(), openapi3.NewObjectSchema()
	args.AdditionalProperties = openapi3.BoolSchema{Has: new(bool)}
	for i := range p.Parameters {
		par := &p.Parameters[i]
		s := sqlSchema(par.Type)
		s.Description = par.Doc
		if par.Output {
			outputs.WithProperty(par.Name, s)
			continue
		}
		s.Nullable = !par.Required
		if par.Default != nil {
			b, err := sqltype.Encode(par.Type, par.Default)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(b, &s.Default); err != nil {
				return err
			}
		}
		args.WithProperty(par.Name, s)
		if par.Required {
			args.Required = append(args.Required, par.Name)
		}
	}
	op.RequestBody = requestBody(openapi3.NewRequestBody().WithRequired(len(args.Required) > 0).WithJSONSchema(args))
	sets := openapi3.NewArraySchema().WithItems(openapi3.NewObjectSchema())
	answer := openapi3.NewObjectSchema().WithProperty("return_value", openapi3.NewInt64Schema()).
		WithProperty("output", outputs).WithProperty("result_sets", sets)
	op.AddResponse(http.StatusOK, openapi3.NewResponse().WithDescription("The procedure's answer.").WithJSONSchema(answer))
	d.doc.AddOperation(strings.Replace(rt.path, "{procedure}", p.Name, 1), rt.method, op)
	return nil
}

// sqlSchema is how values of an SQL type look in JSON.
func sqlSchema(t sqltype.Type) *openapi3.Schema {
	var s *openapi3.Schema
	switch low, high, integer := t.Range(); {
	case integer && high > 1<<53:
		s = openapi3.NewInt64Schema()
	case integer:
		s = openapi3.NewInt64Schema().WithMin(float64(low)).WithMax(float64(high))
	case t == sqltype.Bit:
		s = openapi3.NewBoolSchema()
	case t == sqltype.DateTimeOffset:
		s = openapi3.NewDateTimeSchema()
	case t == sqltype.UniqueIdentifier:
		s = openapi3.NewUUIDSchema()
	case t == sqltype.VarBinaryMax:
		digest := openapi3.NewStringSchema().WithPattern("^[0-9a-f]{64}$")
		reference := openapi3.NewObjectSchema().WithProperty("blob", digest)
		reference.Required = []string{"blob"}
		s = openapi3.NewOneOfSchema(openapi3.NewBytesSchema(), reference)
	case t == sqltype.Variant:
		s = openapi3.NewSchema()
	case t.IsText() && t.Length() > 0:
		s = openapi3.NewStringSchema().WithMaxLength(int64(t.Length()))
	default:
		s = openapi3.NewStringSchema()
	}
	s.Title = t.String()
	return s
}
