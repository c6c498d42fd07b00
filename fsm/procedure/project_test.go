package procedure_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/ispac"
	"scaleout/fsm/view"
)

func TestCreateFolder(t *testing.T) {
	w := fsmtest.NewWorld(t)
	a := w.Ok(fsmtest.Alice, "create_folder", `{"folder_name":"ETL"}`)
	if id, _ := a.Outputs["folder_id"].(int64); a.Returned != 0 || id == 0 {
		t.Fatalf("create_folder answers %+v", a)
	}
	refuses(w, "create_folder",
		refusal{"a name in other letters", fsmtest.Alice, `{"folder_name":"etl"}`, command.CodeFolderExists,
			`"ETL" exists`})
	for name, says := range map[string]string{
		"": "1–128", "@x": "begins with @", " x": "blank", "x ": "blank", `a"b`: "not allowed", "a<b": "not allowed",
		"a|b": "not allowed",
		"a/b": `contains the character "/"`, "/": "not allowed", `a\b`: `contains the character "\\"`,
		"a\tb": `contains the character "\t"`, "a\x00": "contains the character",
		"a\u0085b": "format characters", "a\u202eb": `the character "\u202e"`, "a\u200bb": "format characters",
		"a\u2066b": "format characters",
		"a\u2028b": "format characters", "a\ufeffb": "format characters",
	} {
		w.Case(fmt.Sprintf("the name %+q", name), func(*testing.T) {
			object, _ := json.Marshal(map[string]string{"folder_name": name})
			w.Refuses(fsmtest.Alice, "create_folder", string(object), command.FamilyInvalidName, says)
		})
	}
}

func TestDeleteFoldersAndProjects(t *testing.T) {
	const folder, project = "delete_folder", "delete_project"
	for _, c := range []struct {
		name, procedure, arguments string
		gone                       bool // the project is deleted before
		code, says                 string
	}{
		{"no folder", folder, `{"folder_name":"nope"}`, false, command.CodeFolderNotFound, `no folder "nope"`},
		{"a folder with a project", folder, `{"folder_name":"ETL"}`, false, command.CodeFolderNotEmpty, `"nightly" is one`},
		{"an empty folder, in any case", folder, `{"folder_name":"etl"}`, true, "", ""},
		{"no project", project, `{"folder_name":"ETL","project_name":"x"}`, false, command.CodeProjectNotFound,
			`no project "x"`},
		{"a project, in any case", project, `{"folder_name":"etl","project_name":"NIGHTLY"}`, false, "", ""},
		{"a project that was deleted", project, `{"folder_name":"ETL","project_name":"nightly"}`, true,
			command.CodeProjectNotFound, `no project "nightly"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := fsmtest.NewWorld(t)
			w.Deploy(fsmtest.Project("nightly"))
			if c.gone {
				w.Ok(fsmtest.Alice, project, `{"folder_name":"ETL","project_name":"nightly"}`)
			}
			if c.code != "" {
				w.Refuses(fsmtest.Alice, c.procedure, c.arguments, c.code, c.says)
				return
			}
			w.Ok(fsmtest.Alice, c.procedure, "%s", c.arguments)
			// What is deleted is not found any more.
			w.Refuses(fsmtest.Alice, c.procedure, c.arguments, map[string]string{
				folder: command.CodeFolderNotFound, project: command.CodeProjectNotFound}[c.procedure], "no ")
		})
	}
}

func TestDeploy(t *testing.T) {
	w := fsmtest.NewWorld(t)
	first := w.Deploy(fsmtest.Project("nightly"))
	if first.Outputs["operation_id"].(int64) == 0 {
		t.Fatal("no operation")
	}
	cmd := first.Command.(*command.DeployProject)
	if _, ok := w.Blobs[cmd.Blob]; !ok || cmd.Size != int64(len(w.Blobs[cmd.Blob])) {
		t.Fatal("the project file was not stored before its command")
	}
	if strings.Contains(string(cmd.Manifest), "s3cret") {
		t.Fatal("a secret is in the log")
	}
	// By the blob that is there already.
	second := w.Ok(fsmtest.Alice, "deploy_project",
		`{"folder_name":"etl","project_name":"Nightly","project_stream":{"blob":%q}}`, cmd.Blob)
	if second.Command.(*command.DeployProject).Project != "nightly" {
		t.Fatal("the project has not the name in its file")
	}
	if n := len(w.Query(fsmtest.Alice, "object_versions", view.Request{})); n != 2 {
		t.Fatalf("%d versions, want 2", n)
	}
}

func TestDeployIsRefused(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Ok(fsmtest.Alice, "create_folder", `{"folder_name":"ETL"}`)
	file := base64.StdEncoding.EncodeToString(fsmtest.Pack(t, fsmtest.Project("nightly")))
	deploy := func(folder, name, stream string) string {
		return fmt.Sprintf(`{"folder_name":%q,"project_name":%q,"project_stream":%s}`, folder, name, stream)
	}
	big, _, _ := w.Store(t.Context(), strings.NewReader(strings.Repeat("x", 1<<20+1)), 2<<20)
	refuses(w, "deploy_project",
		refusal{"no folder", fsmtest.Alice, deploy("nope", "nightly", `"`+file+`"`), command.CodeFolderNotFound, "nope"},
		refusal{"another project's name", fsmtest.Alice, deploy("ETL", "daily", `"`+file+`"`),
			command.CodeNameMismatch, `of the project "nightly", not "daily"`},
		refusal{"no zip", fsmtest.Alice, deploy("ETL", "nightly", `"aGk="`), command.CodeInvalidProject,
			"project_stream: "},
		refusal{"nothing", fsmtest.Alice, deploy("ETL", "nightly", `""`), command.CodeInvalidProject,
			"project_stream: "},
		refusal{"no blob", fsmtest.Alice, deploy("ETL", "nightly", `{"blob":"`+strings.Repeat("0", 64)+`"}`),
			command.CodeBlobNotFound, "upload it first"},
		refusal{"too large", fsmtest.Alice, deploy("ETL", "nightly", `{"blob":"`+big+`"}`),
			command.CodeProjectTooLarge, "MaxProjectBytes, 1048576"},
		refusal{"no role for it", fsmtest.Bob, deploy("ETL", "nightly", `"`+file+`"`),
			command.FamilyPermissionDenied, "takes a role (ssis_admin); \"bob\" has ssis_cluster_executor"},
	)
	if len(w.Blobs) != 1 {
		t.Fatalf("%d blobs: a refused file was stored", len(w.Blobs)-1)
	}
}

func realFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "ispac", name+".ispac"))
	if err != nil {
		t.Skipf("the real project files are not here: %v", err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func TestDeployRealFiles(t *testing.T) {
	for name, packages := range map[string]int{"CustomLogging": 1, "Chapter05": 2, "AdventureWorksETL": 4, "ETL": 12,
		"SampleSSISProject": 2} {
		t.Run(name, func(t *testing.T) {
			w := fsmtest.NewWorld(t)
			w.Ok(fsmtest.Alice, "create_folder", `{"folder_name":"F"}`)
			a := w.Ok(fsmtest.Alice, "deploy_project", `{"folder_name":"F","project_name":%q,"project_stream":%q}`, name,
				realFile(t, name))
			if n := len(w.Query(fsmtest.Alice, "packages", view.Request{})); n != packages {
				t.Errorf("%d packages, want %d", n, packages)
			}
			messages := w.Query(fsmtest.Alice, "operation_messages",
				view.Request{Where: fsmtest.Where("operation_id", fmt.Sprint(a.Outputs["operation_id"]), "message_type", "110")})
			// It alone has secrets that cannot be read without more; the others saved none.
			if encrypted := name == "SampleSSISProject"; (len(messages) > 0) != encrypted {
				t.Errorf("warnings: %v", messages)
			}
			if len(w.Query(fsmtest.Alice, "object_parameters", view.Request{Where: fsmtest.Where("sensitive", "0")})) == 0 {
				t.Error("no parameters")
			}
		})
	}
}

func TestProjectPassword(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Ok(fsmtest.Alice, "create_folder", `{"folder_name":"F"}`)
	deploy := `{"folder_name":"F","project_name":"SampleSSISProject","project_stream":"` +
		realFile(t, "SampleSSISProject") + `","project_password":%q}`
	w.Refuses(fsmtest.Alice, "deploy_project", fmt.Sprintf(deploy, "ssis124"), command.CodeWrongPassword, "password")
	a := w.Ok(fsmtest.Alice, "deploy_project", deploy, "ssis123")
	cmd := a.Command.(*command.DeployProject)
	if cmd.Password == nil {
		t.Fatal("the password was not kept")
	}
	plain, err := w.Unseal(cmd.Password, catalog.SealNamePassword(cmd.Blob))
	if err != nil || plain.Reveal() != "ssis123" {
		t.Fatalf("the password opens as %q, %v", plain, err)
	}
	m, err := command.UnpackManifest(cmd.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(m.Parameters, func(p command.Parameter) bool { return p.Name == "SourceDBName" })
	if i < 0 || m.Parameters[i].Default == nil || m.Parameters[i].Default.Sealed == nil ||
		m.Parameters[i].Default.Text != "" {
		t.Fatal("the encrypted parameter was not sealed")
	}
	plain, err = w.Unseal(m.Parameters[i].Default.Sealed, catalog.SealNameDefault(cmd.Blob, "", "SourceDBName"))
	if err != nil || plain.Reveal() == "" {
		t.Fatalf("the encrypted parameter does not open: %v", err)
	}
	for _, where := range []string{catalog.SealNameDefault(cmd.Blob, "", "SourceDBServer"),
		catalog.SealNameDefault(cmd.Blob, "Package1.dtsx", "SourceDBName"), catalog.SealNamePassword(cmd.Blob)} {
		if _, err := w.Unseal(m.Parameters[i].Default.Sealed, where); err == nil {
			t.Errorf("it opens as %s, too", where)
		}
	}
}

// A password that the file does not need is not kept, and said so.
func TestNeedlessPassword(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Ok(fsmtest.Alice, "create_folder", `{"folder_name":"ETL"}`)
	a := w.Ok(fsmtest.Alice, "deploy_project",
		`{"folder_name":"ETL","project_name":"nightly","project_password":"hush","project_stream":%q}`,
		base64.StdEncoding.EncodeToString(fsmtest.Pack(t, fsmtest.Project("nightly"))))
	cmd := a.Command.(*command.DeployProject)
	if cmd.Password != nil || !slices.ContainsFunc(cmd.Warnings, func(w command.Warning) bool {
		return w.Code == command.NotePasswordUnset && slices.Equal(w.Args, []string{"ServerStorage"})
	}) {
		t.Fatalf("password %v, warnings %q", cmd.Password, cmd.Warnings)
	}
}

func TestManifestTooLarge(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Ok(fsmtest.Alice, "create_folder", `{"folder_name":"ETL"}`)
	p := fsmtest.Project("nightly")
	// Random-looking text does not compress: 2 MB of it.
	text, state := make([]byte, 8000), uint64(1)
	for i := range 250 {
		for j := range text {
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
			text[j] = "abcdefghijklmnopqrstuvwxyz0123456789+-"[state%38]
		}
		p.Parameters = append(p.Parameters, ispac.Parameter{Name: fmt.Sprintf("P%d", i), Type: ispac.String, HasValue: true,
			Value: string(text)})
	}
	file, _, _ := w.Store(t.Context(), strings.NewReader(string(fsmtest.Pack(t, p))), 64<<20)
	w.Config.MaxProjectBytes = 64 << 20
	w.Refuses(fsmtest.Alice, "deploy_project", `{"folder_name":"ETL","project_name":"nightly","project_stream":{"blob":"`+
		file+`"}}`, command.CodeManifestTooLarge, "split the project (it has 2 packages)")
}
