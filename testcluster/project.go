package testcluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"scaleout/fsm/ispac"
	"scaleout/httpapi/client"
)

// Deploy packs shell packages by file name and deploys them as a project.
func (c *Cluster) Deploy(folder, project string, packages map[string]string, parameters ...ispac.ParameterDefinition) {
	c.tb.Helper()
	d := ispac.Definition{Name: project, Parameters: parameters}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		d.Packages = append(d.Packages, ispac.PackageDefinition{Name: name})
	}
	p, err := d.Project(func() string { return strings.ToUpper(uuid.NewString()) }, slices.Sorted(maps.Keys(packages)))
	c.must(err)
	var buf bytes.Buffer
	c.must(ispac.Write(&buf, p, func(part string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(packages[part])), nil
	}))
	c.DeployFile(folder, project, buf.Bytes())
}

// Pack returns the project file of a project.yaml and the files that it names.
func (c *Cluster) Pack(definition string, files map[string]string) []byte {
	c.tb.Helper()
	d, err := ispac.ParseDefinition([]byte(definition))
	c.must(err)
	p, err := d.Project(func() string { return strings.ToUpper(uuid.NewString()) }, slices.Sorted(maps.Keys(files)))
	c.must(err)
	var buf bytes.Buffer
	c.must(ispac.Write(&buf, p, func(part string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(files[part])), nil
	}))
	return buf.Bytes()
}

// DeployFile deploys a project file.
func (c *Cluster) DeployFile(folder, project string, raw []byte) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(c.tb.Context(), 2*time.Minute)
	defer cancel()
	admin := c.Admin()
	_, err := admin.Call(ctx, "create_folder", map[string]any{"folder_name": folder})
	if err != nil && client.Code(err) != "folder_exists" {
		c.tb.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	digest := hex.EncodeToString(sum[:])
	_, err = admin.PutBlob(ctx, digest, int64(len(raw)), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(raw)), nil
	})
	c.must(err)
	_, err = admin.Call(ctx, "deploy_project", map[string]any{
		"folder_name": folder, "project_name": project, "project_stream": map[string]string{"blob": digest},
	})
	c.must(err)
}

// Run creates and starts an execution of folder/project/package and returns its id.
func (c *Cluster) Run(path string, retries int, parameters map[string]any) int64 {
	c.tb.Helper()
	id := c.Create(path, parameters)
	c.Begin(id, retries)
	return id
}

// Create creates an execution of folder/project/package.
func (c *Cluster) Create(path string, parameters map[string]any) int64 {
	c.tb.Helper()
	parts := strings.SplitN(path, "/", 3)
	ctx, cancel := context.WithTimeout(c.tb.Context(), 2*time.Minute)
	defer cancel()
	admin := c.Admin()
	r, err := admin.Call(ctx, "create_execution", map[string]any{
		"folder_name": parts[0], "project_name": parts[1], "package_name": parts[2],
	})
	c.must(err)
	id, _ := r.Int("execution_id")
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		_, err := admin.Call(ctx, "set_execution_parameter_value", map[string]any{
			"execution_id": id, "object_type": 20, "parameter_name": name, "parameter_value": parameters[name],
		})
		c.must(err)
	}
	return id
}

// Begin starts a created execution.
func (c *Cluster) Begin(id int64, retries int) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(c.tb.Context(), 2*time.Minute)
	defer cancel()
	_, err := c.Admin().Call(ctx, "start_execution", map[string]any{"execution_id": id, "retry_count": retries})
	c.must(err)
}
