package testcluster_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// systemdVariable enables the test that boots machines with systemd. If it is set, the test fails if something that it
// needs is missing.
const systemdVariable = "SCALEOUT_SYSTEMD_BOOT"

// machines are containers with Debian's systemd as their first process, and "desk", the operator's machine. They are
// set up with exactly the commands of docs/operations.md.
type machines struct {
	t      *testing.T
	prefix string // of the containers' names; the network and the image are named after it
	guide  string // docs/operations.md
	files  string // the operator's files: bin/scaleout and deploy/systemd
}

const (
	theDesk   = "desk"
	theWorker = "w1"
)

var theMasters = []string{"m1", "m2", "m3"}

// '--privileged' is not used: an engine without all rights cannot grant them. On every host systemd finds only cgroup
// v2, as on a current machine, and the container has a branch of its own.
var bootArguments = []string{
	"--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined",
	"--security-opt=systempaths=unconfined", "--cgroupns=private", "--tmpfs=/run", "--stop-signal=SIGRTMIN+3",
	"--env=container=docker",
}

const bootScript = "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec /lib/systemd/systemd"

func bootMachines(t *testing.T) *machines {
	t.Helper()
	if os.Getenv(systemdVariable) == "" {
		t.Skipf("set %s=1 or run 'make systemd-test' for the test of machines with systemd", systemdVariable)
	}
	if out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Fatalf("no container engine answers: %v\n%s", err, out)
	}
	guide, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := &machines{t: t, prefix: fmt.Sprintf("scsystemd%d", os.Getpid()), guide: string(guide), files: t.TempDir()}
	t.Cleanup(m.remove)

	var wg sync.WaitGroup
	wg.Go(func() {
		m.host("CGO_ENABLED=0 go build -o " + filepath.Join(m.files, "bin", "scaleout") + " scaleout/cmd/scaleout")
		m.host("mkdir " + m.files + "/deploy && cp -r ../deploy/systemd " + m.files + "/deploy")
	})
	wg.Go(func() {
		m.host(`mmdebstrap --quiet --variant=essential --include=systemd,systemd-sysv --dpkgopt=force-unsafe-io \
			--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' bookworm - | docker import - ` + m.prefix)
	})
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	m.host("docker network create " + m.prefix)
	m.container(theDesk, nil, "sleep infinity")
	for _, name := range append([]string{theWorker}, theMasters...) {
		m.container(name, bootArguments, bootScript)
	}
	for _, name := range append([]string{theWorker}, theMasters...) {
		m.up(name)
	}
	return m
}

// up waits until a machine has started all its services.
func (m *machines) up(name string) {
	m.t.Helper()
	m.until(name+" is up", func() bool {
		state, _ := m.try(name, "systemctl is-system-running")
		return strings.TrimSpace(state) == "running"
	})
}

// container starts a container with the operator's files in /root.
func (m *machines) container(name string, arguments []string, script string) {
	m.t.Helper()
	args := append([]string{"run", "-d", "--name", m.prefix + name, "--hostname", name, "--network", m.prefix,
		"--network-alias", name + ".example.com"}, arguments...)
	if out, err := exec.Command("docker",
		append(args, m.prefix, "/bin/sh", "-c", script)...).CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v\n%s", name, err, out)
	}
	m.host("docker cp " + m.files + "/. " + m.prefix + name + ":/root")
}

func (m *machines) remove() {
	for _, name := range append([]string{theDesk, theWorker}, theMasters...) {
		if m.t.Failed() {
			out, _ := m.try(name, "journalctl --no-pager -n 60 -u 'scaleout-*' || true")
			m.t.Logf("%s:\n%s", name, out)
		}
		_ = exec.Command("docker", "rm", "-f", "-v", m.prefix+name).Run() // a container that was created and never started
	}
	_ = exec.Command("docker", "network", "rm", m.prefix).Run()
	_ = exec.Command("docker", "rmi", "-f", m.prefix).Run()
}

// host runs a script on this machine. It returns an error instead of ending the test, since other goroutines call it,
// too.
func (m *machines) host(script string) {
	m.t.Helper()
	if out, err := exec.Command("bash", "-eo", "pipefail", "-c", script).CombinedOutput(); err != nil {
		m.t.Errorf("%s: %v\n%s", script, err, out)
	}
}

// try runs a script on a machine, as root in /root.
func (m *machines) try(name, script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", "exec", "-w", "/root", m.prefix+name, "bash", "-eo", "pipefail", "-c",
		script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s%s", name, err, out, &stderr)
	}
	return string(out), err
}

func (m *machines) run(name, script string) string {
	m.t.Helper()
	out, err := m.try(name, script)
	if err != nil {
		m.t.Fatalf("%s\n%v", script, err)
	}
	return out
}

func (m *machines) until(what string, ok func() bool) {
	m.t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			m.t.Fatalf("in vain: %s", what)
		}
		pause(200 * time.Millisecond)
	}
}

// block returns the code block of the guide that is below a heading and contains a text. There must be exactly one.
func (m *machines) block(heading, text string) string {
	m.t.Helper()
	_, section, _ := strings.Cut(m.guide, "\n### "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n### ")
	var found []string
	for i, part := range strings.Split(section, "\n```\n") {
		if i%2 == 1 && strings.Contains(part, text) {
			found = append(found, part)
		}
	}
	if len(found) != 1 {
		m.t.Fatalf("docs/operations.md has %d blocks with %q below %q", len(found), text, heading)
	}
	return found[0]
}

// setUp follows the guide from the certificates to a cluster with a worker.
func (m *machines) setUp() {
	const linux = "Linux, systemd"
	get := m.block("Plan", "/usr/local/bin")
	m.run(theDesk, get)
	m.run(theDesk, m.block("Certificates first", "ca init"))
	unit := m.block(linux, "sysusers")
	start := m.block(linux, "enable --now")
	for i, name := range theMasters {
		m.certificates(name, fmt.Sprintf("master-%d", i+1))
		m.run(name, get)
		m.run(name, unit)
		text := strings.Replace(m.block(linux, "BootstrapExpect"), `"AdvertiseAddress": "m1.`,
			`"AdvertiseAddress": "`+name+".", 1)
		m.write(name, "/etc/scaleout/MasterSettings.config", text)
		m.run(name, "scaleout config check /etc/scaleout/MasterSettings.config")
	}
	ofWorker := strings.NewReplacer("scaleout-master", "scaleout-worker").Replace
	m.certificates(theWorker, "worker-1")
	m.run(theWorker, get)
	m.run(theWorker, ofWorker(unit))
	m.write(theWorker, "/etc/scaleout/WorkerSettings.config", m.block(linux, "TasksRootFolder"))
	m.run(theWorker, "scaleout config check /etc/scaleout/WorkerSettings.config")
	for _, name := range theMasters {
		m.run(name, start)
	}
	m.run(theWorker, ofWorker(start))
	m.run(theWorker, "scaleout doctor --config /etc/scaleout/WorkerSettings.config")
	m.run(theDesk, m.block(linux, "worker enable"))
}

// certificates copies the certificates as the guide does with scp.
func (m *machines) certificates(name, certificate string) {
	m.t.Helper()
	m.run(name, "mkdir -p /etc/scaleout/certs")
	m.host("docker cp " + m.prefix + theDesk + ":/root/certs/" + certificate + "/. - | docker cp - " + m.prefix + name +
		":/etc/scaleout/certs")
}

func (m *machines) write(name, path, text string) {
	m.t.Helper()
	m.run(name, "mkdir -p "+filepath.Dir(path)+" && cat > "+path+" <<'END'\n"+text+"\nEND")
}

// cli runs commands with the operator's certificate.
func (m *machines) cli(script string) string {
	m.t.Helper()
	return m.run(theDesk, m.operator()+script)
}

// operator returns the lines of the guide that set the masters and the certificate.
func (m *machines) operator() string {
	m.t.Helper()
	var exports []string
	for line := range strings.Lines(m.block("Linux, systemd", "worker enable")) {
		if strings.HasPrefix(line, "export ") {
			exports = append(exports, line)
		}
	}
	return strings.Join(exports, "")
}

// unit returns the properties of a service.
func (m *machines) unit(name, unit string) map[string]string {
	m.t.Helper()
	out := m.run(name, "systemctl show "+unit)
	properties := map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		properties[key] = value
	}
	return properties
}

// serves waits until a service reports that it is ready and systemd has restarted it at least so often.
func (m *machines) serves(name, unit string, restarts int) {
	m.t.Helper()
	m.until(name+" serves", func() bool {
		p := m.unit(name, unit)
		n, _ := strconv.Atoi(p["NRestarts"])
		return p["ActiveState"] == "active" && p["StatusText"] == "serving" && n >= restarts
	})
}

// dropIn overrides a part of a unit; an empty text removes the override.
func (m *machines) dropIn(name, unit, text string) {
	m.t.Helper()
	path := "/etc/systemd/system/" + unit + ".service.d/test.conf"
	if text == "" {
		m.run(name, "rm "+path)
	} else {
		m.write(name, path, "[Service]\n"+text)
	}
	m.run(name, "systemctl daemon-reload")
}

// hang suspends a service's process and waits until the watchdog has replaced it.
func (m *machines) hang(name, unit string) {
	m.t.Helper()
	m.run(name, "kill -STOP "+m.unit(name, unit)["MainPID"])
	m.serves(name, unit, 1)
	m.run(name, "journalctl -u "+unit+" | grep 'Watchdog timeout'")
}

func (m *machines) deploy(project string, packages map[string]string) {
	m.t.Helper()
	definition := "name: " + project + "\npackages:\n"
	for file, text := range packages {
		definition += "  - name: " + file + "\n"
		m.write(theDesk, "/root/"+project+"/"+file, text)
	}
	m.write(theDesk, "/root/"+project+"/project.yaml", definition)
	m.cli("scaleout project pack " + project + "\nscaleout project deploy " + project +
		".ispac --folder ETL --create-folder")
}

var executionID = regexp.MustCompile(`"execution_id":\s*(\d+)`)

func (m *machines) start(path string) string {
	m.t.Helper()
	out := m.cli("scaleout execution run -o json " + path)
	id := executionID.FindStringSubmatch(out)
	if id == nil {
		m.t.Fatalf("no id in %q", out)
	}
	return id[1]
}

const workerHome = "/var/lib/scaleout-worker"

// ran returns how often each attempt that ran to its end did so.
func (m *machines) ran() map[string]int {
	m.t.Helper()
	times := map[string]int{}
	for _, attempt := range strings.Fields(m.run(theWorker, "cat "+workerHome+"/ran")) {
		times[attempt]++
	}
	return times
}

// packageProcesses returns the processes of the worker's service without the worker itself.
func (m *machines) packageProcesses() []string {
	m.t.Helper()
	all := strings.Fields(m.run(theWorker,
		"find /sys/fs/cgroup/system.slice/scaleout-worker.service -name cgroup.procs -exec cat {} +"))
	main := m.unit(theWorker, "scaleout-worker")["MainPID"]
	slices.Sort(all)
	return slices.DeleteFunc(all, func(pid string) bool { return pid == main })
}
