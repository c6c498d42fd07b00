package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"scaleout/fsm/ispac"
	"scaleout/httpapi/wire"
)

// The object types of parameters.
const (
	projectParameter = 20
	packageParameter = 30
)

// The names of what Prepare puts into a task folder.
const (
	parametersFile = "parameters.json"
	commandFile    = "dtexec.rsp"
	scratchDir     = "work"
)

// Task is one attempt, ready to run.
type Task struct {
	Grant       wire.Grant
	ProjectFile string // the project as it was deployed
	ProjectDir  string // its unpacked content
	Folder      string // the task folder, which is there
}

// Command is what to run.
type Command struct {
	Path   string // absolute
	Args   []string
	Env    []string // the whole environment
	Dir    string
	Remove []string // files with secrets, to be removed when the command has ended
}

// Prepare makes the command for a task and writes its files into the task folder. ErrNoRunner when no program for it is
// here, ErrPackage when it cannot be run anywhere; after any error no file is left.
func (s *Set) Prepare(t Task) (Command, error) {
	ext := Extension(t.Grant.Package)
	name := ext
	if ext == Dtsx && t.Grant.Use32Bit {
		name = Dtsx32
	}
	line, ok := s.programs[name].find()
	if !ok {
		return Command{}, fmt.Errorf("%w: %s (extension %s)", ErrNoRunner, t.Grant.Package, name)
	}
	if filepath.Base(t.Grant.Package) != t.Grant.Package {
		return Command{}, fmt.Errorf("%w: %q is not a plain name", ErrPackage, t.Grant.Package)
	}
	path := filepath.Join(t.ProjectDir, t.Grant.Package)
	if _, err := os.Stat(path); err != nil {
		return Command{}, fmt.Errorf("%w: the project has no part %q", ErrPackage, t.Grant.Package)
	}
	c := Command{Path: line[0], Dir: t.ProjectDir}
	write := func(name string, data []byte) (string, error) {
		path := filepath.Join(t.Folder, name)
		c.Remove = append(c.Remove, path)
		return path, writeSecret(path, data)
	}
	err := func() error {
		scratch := filepath.Join(t.Folder, scratchDir)
		if err := os.MkdirAll(scratch, 0o700); err != nil {
			return err
		}
		data, err := parametersJSON(t.Grant)
		if err != nil {
			return err
		}
		params, err := write(parametersFile, data)
		if err != nil {
			return err
		}
		c.Env = environment(s.environ, t, params, scratch)
		if ext != Dtsx {
			c.Args = append(line[1:], packageArgument(ext, path))
			return nil
		}
		text, err := dtexecOptions(t)
		if err != nil {
			return err
		}
		rsp, err := write(commandFile, text)
		c.Args = append(line[1:], "/CommandFile", rsp)
		return err
	}()
	if err != nil {
		for _, p := range c.Remove {
			os.Remove(p)
		}
		if !errors.Is(err, ErrPackage) {
			err = fmt.Errorf("runner: %w", err)
		}
		return Command{}, err
	}
	return c, nil
}

// packageArgument is the package's path as its program takes it. cmd.exe reads its own line anew, so it gets the bare
// name: the working directory is the project.
func packageArgument(ext, path string) string {
	if ext == ".cmd" || ext == ".bat" {
		return filepath.Base(path)
	}
	return path
}

// managersWords are what systemd tells a service: a package that took them for its own would speak for the worker.
var managersWords = []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}

// environment is what the package sees. Nothing that the worker itself was configured with comes through.
func environment(environ []string, t Task, params, scratch string) []string {
	env := make([]string, 0, len(environ)+len(t.Grant.Parameters)+9)
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(strings.ToUpper(name), "SCALEOUT_") && !slices.Contains(managersWords, name) {
			env = append(env, kv)
		}
	}
	g := t.Grant
	for _, v := range [][2]string{
		{"EXECUTION_ID", strconv.FormatInt(g.ExecutionID, 10)}, {"TASK_ID", strconv.FormatInt(g.TaskID, 10)},
		{"ATTEMPT", strconv.Itoa(g.Attempt)}, {"FOLDER", g.Folder}, {"PROJECT", g.Project}, {"PACKAGE", g.Package},
		{"TASK_DIR", scratch}, {"PARAMETERS", params},
	} {
		env = append(env, "SCALEOUT_"+v[0]+"="+v[1])
	}
	// Declared parameters first: of two generated ones that would share a variable, neither may take it from those.
	taken := map[string]bool{}
	for _, generated := range []bool{false, true} {
		for _, p := range g.Parameters {
			prefix := envPrefix(p.ObjectType)
			name := prefix + ispac.EnvName(p.Name)
			// The system cannot hold a zero byte in a variable; the file of parameters can.
			if prefix == "" || isGenerated(p) != generated || taken[name] || strings.ContainsRune(p.Value, 0) {
				continue
			}
			taken[name] = true
			env = append(env, name+"="+p.Value)
		}
	}
	return env
}

func envPrefix(objectType int) string {
	switch objectType {
	case projectParameter:
		return "PROJECT_PARAM_"
	case packageParameter:
		return "PARAM_"
	}
	return ""
}

// isGenerated tells the parameters that stand for properties of connection managers.
func isGenerated(p wire.Parameter) bool { return strings.HasPrefix(p.Name, "CM.") }

type parameterJSON struct {
	Name      string          `json:"name"`
	Type      string          `json:"type"`
	Value     json.RawMessage `json:"value"`
	Sensitive bool            `json:"sensitive"`
}

// parametersJSON is the content of the file that SCALEOUT_PARAMETERS names: exact names, typed values.
func parametersJSON(g wire.Grant) ([]byte, error) {
	doc := struct {
		ExecutionID int64           `json:"execution_id"`
		Folder      string          `json:"folder"`
		Project     string          `json:"project"`
		Package     string          `json:"package"`
		ProjectPs   []parameterJSON `json:"project_parameters"`
		PackagePs   []parameterJSON `json:"package_parameters"`
		Options     []parameterJSON `json:"options"`
	}{g.ExecutionID, g.Folder, g.Project, g.Package, []parameterJSON{}, []parameterJSON{}, []parameterJSON{}}
	for _, list := range [][]wire.Parameter{g.Parameters, g.Options} {
		for _, p := range list {
			value, err := jsonValue(p)
			if err != nil {
				return nil, err
			}
			pj := parameterJSON{p.Name, p.Type, value, p.Sensitive}
			switch p.ObjectType {
			case projectParameter:
				doc.ProjectPs = append(doc.ProjectPs, pj)
			case packageParameter:
				doc.PackagePs = append(doc.PackagePs, pj)
			default:
				doc.Options = append(doc.Options, pj)
			}
		}
	}
	return json.MarshalIndent(doc, "", "  ")
}

func jsonValue(p wire.Parameter) (json.RawMessage, error) {
	switch p.Type {
	case "Boolean", "SByte", "Byte", "Int16", "Int32", "UInt32", "Int64", "UInt64", "Single", "Double", "Decimal":
		low := strings.ToLower(p.Value)
		// Not every number has a form in JSON: those that have none stay text.
		if json.Valid([]byte(low)) {
			return json.RawMessage(low), nil
		}
	}
	return json.Marshal(p.Value)
}

// writeSecret makes a file that only this account can read, from its first byte on.
func writeSecret(path string, data []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
