package testcluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/fsm/catalog"
	"scaleout/httpapi/client"
)

// deployment is deploy/compose.yaml, running under a project name, with ports and certificates of its own.
type deployment struct {
	t       *testing.T
	project string
	env     []string
	certs   string
	admin   *client.Client
}

// dockerVariable enables the tests that need a container engine. If it is set, they fail without one.
const dockerVariable = "SCALEOUT_DOCKER"

func composeUp(t *testing.T) *deployment {
	t.Helper()
	if os.Getenv(dockerVariable) == "" {
		t.Skipf("set %s=1 or run 'make docker-test' for the test of containers", dockerVariable)
	}
	if out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Fatalf("no container engine answers: %v\n%s", err, out)
	}
	dir := t.TempDir()
	d := &deployment{t: t, project: fmt.Sprintf("sctest%d", os.Getpid()), certs: filepath.Join(dir, "certs")}
	binary := filepath.Join(dir, "scaleout")
	build := exec.Command("go", "build", "-o", binary, "scaleout/cmd/scaleout")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d.env = append(os.Environ(), "COMPOSE_PROJECT_NAME="+d.project, "SCALEOUT_CERTS="+d.certs, "SCALEOUT_TAG="+d.project,
		"BINARY="+binary)
	var masters []string
	for i := 1; i <= 3; i++ {
		port := unusedPort(t)
		d.env = append(d.env, fmt.Sprintf("SCALEOUT_PORT_%d=%d", i, port))
		masters = append(masters, fmt.Sprintf("https://127.0.0.1:%d", port))
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := d.try("logs", "--no-color", "--tail", "60")
			t.Log(out)
		}
		if out, err := d.try("down", "--volumes"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		for _, image := range []string{"scaleout-master:", "scaleout-worker:"} {
			_ = exec.Command("docker", "rmi", "-f", image+d.project).Run() // whatever can be removed
		}
	})
	t.Log(d.compose("up"))

	folder := filepath.Join(d.certs, "admin")
	creds, err := pki.OpenCredentials(pki.CredentialsConfig{Files: pki.Files{
		CA: filepath.Join(folder, pki.FileCA), Cert: filepath.Join(folder, pki.FileCert),
		Key: filepath.Join(folder, pki.FileKey),
	}})
	if err != nil {
		t.Fatal(err)
	}
	transport := client.NewTransport(creds.ClientTLS("http/1.1"))
	transport.DialTLSContext = creds.DialTLS(nil, "http/1.1")
	d.admin, err = client.New(client.Config{
		Masters: masters, HTTPClient: &http.Client{Transport: transport}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.admin.Close(); transport.CloseIdleConnections() })
	return d
}

func unusedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// try runs deploy/compose.sh and returns its error.
func (d *deployment) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join("..", "deploy", "compose.sh"), args...)
	cmd.Env = d.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (d *deployment) compose(args ...string) string {
	d.t.Helper()
	out, err := d.try(args...)
	if err != nil {
		d.t.Fatalf("compose.sh %v: %v\n%s", args, err, out)
	}
	return out
}

func (d *deployment) docker(args ...string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("docker %v: %v\n%s", args, err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// container returns the id of a service's container.
func (d *deployment) container(service string) string {
	d.t.Helper()
	return d.docker("ps", "-aq", "--filter", "label=com.docker.compose.project="+d.project, "--filter",
		"label=com.docker.compose.service="+service)
}

func (d *deployment) network() string { return d.project + "_cluster" }

// address returns a service's address on the masters' network.
func (d *deployment) address(service string) string {
	return d.docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
		d.container(service))
}

// cut disconnects a service from the network. The returned function reconnects it under its name.
func (d *deployment) cut(service string) (heal func()) {
	d.docker("network", "disconnect", d.network(), d.container(service))
	return func() {
		d.docker("network", "connect", "--alias", service, d.network(), d.container(service))
	}
}

// leader waits until a master leads and returns its name.
func (d *deployment) leader() string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	for {
		if s, err := d.admin.Cluster(ctx); err == nil {
			for _, m := range s.Members {
				if m.Leader {
					return m.Name
				}
			}
		}
		if ctx.Err() != nil {
			d.t.Fatal("no master leads")
		}
		pause(100 * time.Millisecond)
	}
}

// whole waits until all masters are healthy and no blob is missing.
func (d *deployment) whole() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	for {
		s, err := d.admin.Cluster(ctx)
		if err == nil && s.FailureTolerance == 1 && len(s.Members) == 3 {
			return
		}
		if ctx.Err() != nil {
			d.t.Fatalf("the cluster does not become whole: %+v %v", s, err)
		}
		pause(200 * time.Millisecond)
	}
}

func pause(d time.Duration) { <-time.After(d) }

// traffic starts one execution after the other until it is stopped.
type traffic struct {
	d    *deployment
	stop chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	started []int64
	failed  []error
	slowest time.Duration
}

func (d *deployment) traffic(path string, at int) *traffic {
	l := &traffic{d: d, stop: make(chan struct{})}
	parts := strings.Split(path, "/")
	for range at {
		l.wg.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
				begin := time.Now()
				id, err := d.execute(parts)
				l.mu.Lock()
				if err != nil {
					l.failed = append(l.failed, fmt.Errorf("after %v: %w", time.Since(begin), err))
				} else {
					l.started = append(l.started, id)
				}
				l.slowest = max(l.slowest, time.Since(begin))
				l.mu.Unlock()
			}
		})
	}
	return l
}

func (d *deployment) execute(parts []string) (int64, error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 60*time.Second)
	defer cancel()
	r, err := d.admin.Call(ctx, "create_execution", map[string]any{
		"folder_name": parts[0], "project_name": parts[1], "package_name": parts[2],
	})
	if err != nil {
		return 0, fmt.Errorf("create: %w", err)
	}
	id, ok := r.Int("execution_id")
	if !ok {
		return 0, errors.New("create: no execution_id")
	}
	// One attempt is allowed, so that a lost attempt fails the execution.
	if _, err := d.admin.Call(ctx, "start_execution", map[string]any{"execution_id": id, "retry_count": 0}); err != nil {
		return 0, fmt.Errorf("start %d: %w", id, err)
	}
	return id, nil
}

func (l *traffic) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.started)
}

// flows waits until some more executions have succeeded: the cluster works.
func (l *traffic) flows() {
	l.d.t.Helper()
	target := l.count() + 5
	deadline := time.Now().Add(time.Minute)
	for l.count() < target {
		if time.Now().After(deadline) {
			l.d.t.Fatalf("only %d executions were started within a minute", l.count())
		}
		pause(50 * time.Millisecond)
	}
}

func (l *traffic) end() []int64 {
	l.d.t.Helper()
	close(l.stop)
	l.wg.Wait()
	for _, err := range l.failed {
		l.d.t.Errorf("a call failed: %v", err)
	}
	l.d.t.Logf("%d executions; the slowest create and start took %v", len(l.started), l.slowest.Round(time.Millisecond))
	return l.started
}

// deploy packs and deploys one shell package.
func (d *deployment) deploy(folder, project, name, text string) {
	d.t.Helper()
	dir := d.t.TempDir()
	definition := fmt.Sprintf("name: %s\npackages:\n  - name: %s\n", project, name)
	for file, body := range map[string]string{"project.yaml": definition, name: text} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(body), 0o644); err != nil {
			d.t.Fatal(err)
		}
	}
	var binary string
	for _, v := range d.env {
		if b, ok := strings.CutPrefix(v, "BINARY="); ok {
			binary = b
		}
	}
	pack := exec.Command("bash", "-ec",
		`. "$1/env"; cd "$2"; "$3" project pack .; "$3" project deploy "$4".ispac --folder "$5" --create-folder`,
		"deploy", d.certs, dir, binary, project, folder)
	pack.Env = d.env
	if out, err := pack.CombinedOutput(); err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
}

// In containers with addresses of their own and under load, a leader is partitioned, frozen, killed and moved, a worker
// is partitioned, and all masters are restarted one by one. No call fails, nothing is lost and nothing runs twice.
func TestComposeSurvives(t *testing.T) {
	d := composeUp(t)
	d.deploy("ETL", "Jobs", "work.sh", "sleep 0.3\necho $SCALEOUT_EXECUTION_ID.$SCALEOUT_ATTEMPT >> /out/ran\n")
	l := d.traffic("ETL/Jobs/work.sh", 3)
	l.flows()
	inject := func(what string, f func()) {
		begin := time.Now()
		f()
		l.flows()
		d.whole()
		t.Logf("%s: whole again after %v", what, time.Since(begin).Round(time.Millisecond))
	}
	inject("the leader is cut off", func() {
		heal := d.cut(d.leader())
		l.flows()
		pause(3 * time.Second)
		heal()
	})
	inject("the leader is frozen", func() {
		id := d.container(d.leader())
		d.docker("pause", id)
		l.flows()
		pause(3 * time.Second)
		d.docker("unpause", id)
	})
	inject("the leader is killed", func() {
		id := d.container(d.leader())
		d.docker("kill", id)
		l.flows()
		d.docker("start", id)
	})
	inject("a worker is cut off", func() {
		heal := d.cut("worker-2")
		pause(5 * time.Second)
		heal()
	})
	inject("the leader gets a new address", func() {
		moved := d.leader()
		before := d.address(moved)
		d.docker("stop", "--time", "45", d.container(moved))
		// The container that starts first takes the free address.
		squatter := d.docker("run", "-d", "--rm", "--network", d.network(), "--entrypoint", "/bin/busybox",
			"scaleout-worker:"+d.project, "sleep", "600")
		defer d.docker("rm", "-f", "-v", squatter)
		d.docker("start", d.container(moved))
		if after := d.address(moved); after == before || after == "" {
			t.Errorf("%s was to move from %s and is at %q", moved, before, after)
		}
		d.whole()
	})
	inject("rolling restart", func() { d.compose("rolling-restart") })
	ids := l.end()

	for _, id := range ids {
		d.succeeds(id)
	}
	ran := map[string]int{}
	for _, line := range strings.Fields(d.docker("run", "--rm", "-v", d.project+"_out:/out", "--entrypoint",
		"/bin/busybox",
		"scaleout-worker:"+d.project, "cat", "/out/ran")) {
		ran[line]++
	}
	for _, id := range ids {
		if n := ran[fmt.Sprintf("%d.1", id)]; n != 1 {
			t.Errorf("execution %d ran %d times", id, n)
		}
	}
	if len(ran) != len(ids) {
		t.Errorf("%d executions were started and %d different ones ran", len(ids), len(ran))
	}
}

// succeeds waits until an execution has succeeded.
func (d *deployment) succeeds(id int64) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 90*time.Second)
	defer cancel()
	for {
		page, err := d.admin.View(ctx, "executions", client.Query{Equal: map[string]any{"execution_id": id}})
		if err == nil && len(page.Rows) == 1 {
			switch status, _ := page.Rows[0].Int("status"); catalog.Status(status) {
			case catalog.Succeeded:
				return
			case catalog.Created, catalog.Pending, catalog.Running:
			default:
				d.t.Errorf("execution %d ended with status %d", id, status)
				return
			}
		}
		if ctx.Err() != nil {
			d.t.Errorf("execution %d has not ended: %+v %v", id, page.Rows, err)
			return
		}
		pause(200 * time.Millisecond)
	}
}
