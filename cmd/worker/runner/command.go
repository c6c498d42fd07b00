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

// The files and folders that Prepare makes in a task folder.
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
	Folder      string // the task folder, which exists
}

// Command is what to run.
type Command struct {
	Path   string // absolute
	Args   []string
	Env    []string // the whole environment
	Dir    string
	Remove []string // files with secrets; the caller removes them when the command has ended
}

// Prepare returns the command for a task and writes its files into the task folder. It returns ErrNoRunner if this
// machine has no program for the package, and ErrPackage if no machine can run it. After an error no file is left.
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

// packageArgument returns the package's path in the form that its program takes. cmd.exe parses its command line again,
// so it gets only the file name: the working directory is the project's.
func packageArgument(ext, path string) string {
	if ext == ".cmd" || ext == ".bat" {
		return filepath.Base(path)
	}
	return path
}

// managerVariables are what systemd tells a service. A package that used them would answer systemd for the worker.
var managerVariables = []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}

// environment returns the package's environment. It contains nothing of the worker's own configuration.
func environment(environ []string, t Task, params, scratch string) []string {
	env := make([]string, 0, len(environ)+len(t.Grant.Parameters)+9)
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(strings.ToUpper(name), "SCALEOUT_") && !slices.Contains(managerVariables, name) {
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
	// Declared parameters come first: a generated parameter must not take the variable of a declared one.
	taken := map[string]bool{}
	for _, generated := range []bool{false, true} {
		for _, p := range g.Parameters {
			prefix := envPrefix(p.ObjectType)
			name := prefix + ispac.EnvName(p.Name)
			// An environment variable cannot contain a zero byte; the parameters file can.
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

// isGenerated reports whether a parameter stands for a property of a connection manager.
func isGenerated(p wire.Parameter) bool { return strings.HasPrefix(p.Name, "CM.") }

type parameterJSON struct {
	Name      string          `json:"name"`
	Type      string          `json:"type"`
	Value     json.RawMessage `json:"value"`
	Sensitive bool            `json:"sensitive"`
}

// parametersJSON returns the content of the file that SCALEOUT_PARAMETERS names: exact names and typed values.
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
	for _, parameters := range [][]wire.Parameter{g.Parameters, g.Options} {
		for _, p := range parameters {
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
		// JSON has no form for some numbers, NaN for one: those stay text.
		if json.Valid([]byte(low)) {
			return json.RawMessage(low), nil
		}
	}
	return json.Marshal(p.Value)
}

// writeSecret makes a file that only this account can ever read: the mode is set before the first byte is written.
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
