package testcluster_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/httpapi/client"
	"scaleout/testcluster"
)

// Real project files, deployed over HTTPS, appear in the views as their authors made them.
func TestRealProjects(t *testing.T) {
	t.Parallel()
	folder := filepath.Join("..", "..", "shared", "ispac")
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("the collection of real project files does not stand beside the repository: %v", err)
	}
	c := testcluster.Start(t, 3)
	s := &scriptProject{Cluster: c, t: t, dir: t.TempDir()}
	s.call("create_folder", map[string]any{"folder_name": "Real"})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	deploy := func(name, password string) (int64, error) {
		raw, err := os.ReadFile(filepath.Join(folder, name+".ispac"))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(raw)
		digest := hex.EncodeToString(sum[:])
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
		if _, err := c.Admin().PutBlob(ctx, digest, int64(len(raw)), open); err != nil {
			t.Fatal(err)
		}
		args := map[string]any{"folder_name": "Real", "project_name": name,
			"project_stream": map[string]string{"blob": digest}}
		if password != "" {
			args["project_password"] = password
		}
		r, err := c.Admin().Call(ctx, "deploy_project", args)
		id, _ := r.Int("operation_id")
		return id, err
	}
	warnings := func(operation int64) (out []string) {
		for _, r := range s.rows("operation_messages", map[string]any{"operation_id": operation, "message_type": 110}) {
			out = append(out, r.Text("message"))
		}
		return out
	}
	projects := []struct {
		name, password string
		packages       []string // with version_build; "-" marks a package that is no entry point
		declared       []string // project parameters without those of connection managers
		parameters     int      // all parameters of project and packages
		warnings       int
	}{
		{"CustomLogging", "", []string{"CustomLogging.dtsx 4"}, nil, 6, 0},
		{"Chapter05", "", []string{"DataMatching.dtsx 5", "DataProfiling.dtsx 2"}, nil, 13, 0},
		{"AdventureWorksETL", "", []string{"CascadingLookup.dtsx 14", "ExecutionTrees.dtsx 76", "LookupCache.dtsx 14",
			"LookupExpression.dtsx 49"}, nil, 30 + 33 + 33 + 9, 0},
		{"ETL", "", []string{"-StgAddress.dtsx 97", "-StgCustomer.dtsx 171", "-StgProductCategory.dtsx 74",
			"-StgProductModel.dtsx 79",
			"-StgProductModelProductDescription.dtsx 77", "-StgSalesOrderDetail.dtsx 73", "EP_Staging.dtsx 157",
			"StgAggregatedSalesFromCloudDW.dtsx 13",
			"StgCustomerAddress.dtsx 79", "StgProduct.dtsx 139", "StgProductDescription.dtsx 83",
			"StgSalesOrderHeader.dtsx 114"},
			[]string{"Cmgr_AsureStorage_ssiscookbook_AccountKey String", "Cmgr_DW String", "Cmgr_Source String",
				"EnvironmentName String", "LoadId Int64"}, 22 + 5 + 10, 0},
		{"SampleSSISProject", "", []string{"Package 221.dtsx 36", "Package1.dtsx 4"},
			[]string{"SourceDBName String", "SourceDBServer String"}, 20 + 2 + 15 + 2 + 6, 1},
		{"SampleSSISProject", "ssis123", []string{"Package 221.dtsx 36", "Package1.dtsx 4"},
			[]string{"SourceDBName String", "SourceDBServer String"}, 20 + 2 + 15 + 2 + 6, 0},
	}
	for _, p := range projects {
		what := p.name
		if p.password != "" {
			what += " with its password"
		}
		op, err := deploy(p.name, p.password)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if got := warnings(op); len(got) != p.warnings {
			t.Errorf("%s: warnings %q", what, got)
		}
		project := s.rows("projects", map[string]any{"name": p.name})[0]
		id, _ := project.Int("project_id")
		var packages []string
		for _, r := range s.rows("packages", map[string]any{"project_id": id}) {
			line := fmt.Sprintf("%s %v", r.Text("name"), r["version_build"])
			if !r.Bool("entry_point") {
				line = "-" + line
			}
			packages = append(packages, line)
		}
		slices.Sort(packages)
		if !slices.Equal(packages, p.packages) {
			t.Errorf("%s: packages %q", what, packages)
		}
		var declared []string
		all := s.rows("object_parameters", map[string]any{"project_id": id})
		for _, r := range all {
			if kind, _ := r.Int("object_type"); kind == 20 && !strings.HasPrefix(r.Text("parameter_name"), "CM.") {
				declared = append(declared, r.Text("parameter_name")+" "+r.Text("data_type"))
			}
			if name := r.Text("parameter_name"); name == "SourceDBName" &&
				(!r.Bool("sensitive") || r["design_default_value"] != nil) {
				t.Errorf("%s: %s: %v", what, name, r)
			}
		}
		slices.Sort(declared)
		if !slices.Equal(declared, p.declared) || len(all) != p.parameters {
			t.Errorf("%s: declares %q and %d parameters in all", what, declared, len(all))
		}
		if versions := s.rows("object_versions", map[string]any{"object_name": p.name}); len(versions) == 0 {
			t.Errorf("%s: no versions", what)
		}
	}
	if n := len(s.rows("object_versions", map[string]any{"object_name": "SampleSSISProject"})); n != 2 {
		t.Errorf("%d versions of a project that was deployed twice", n)
	}
	if _, err := deploy("SampleSSISProject", "ssis124"); client.Code(err) != "wrong_project_password" ||
		strings.Contains(err.Error(), "ssis124") {
		t.Errorf("wrong password: %v", err)
	}

	// The package gets the password in its command file, which is removed afterwards. No log contains the password.
	dtexec := filepath.Join(s.dir, "dtexec")
	script := "#!/bin/sh\nfor a; do file=$a; done\ncat \"$file\" > \"" + s.dir + "/commands\"\necho \"$file\" > \"" +
		s.dir + "/where\"\n"
	if err := os.WriteFile(dtexec+".new", []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dtexec+".new", dtexec); err != nil {
		t.Fatal(err)
	}
	c.Worker(testcluster.WorkerConfig{Runners: map[string][]string{".dtsx": {dtexec}}})
	id := c.Run("Real/SampleSSISProject/Package1.dtsx", 0, nil)
	c.WaitStatus(id, 20*time.Second, 7)
	commands, err := os.ReadFile(filepath.Join(s.dir, "commands"))
	if err != nil || !bytes.Contains(commands, []byte("/De")) || !bytes.Contains(commands, []byte("ssis123")) {
		t.Errorf("dtexec got %q, %v", commands, err)
	}
	where, err := os.ReadFile(filepath.Join(s.dir, "where"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(strings.TrimSpace(string(where))); !os.IsNotExist(err) {
		t.Errorf("the command file %s is still there (%v)", where, err)
	}
	for _, secret := range []string{"ssis123", "ssis124"} {
		if c.Said(secret) {
			t.Errorf("a log has the password %s", secret)
		}
	}
}
