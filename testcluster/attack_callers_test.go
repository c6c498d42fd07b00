package testcluster_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/httpapi/client"
	"scaleout/testcluster"
)

// callersAttacks are the attacks of callers with a certificate: users with no or few rights, and workers.
var callersAttacks = []attack{
	{name: "project files of a user without a role", prepare: leastPrivileged, attack: projectsWithoutARole, least: 10},
	{name: "slow bodies of a user without a role", prepare: leastPrivileged, attack: slowBodies, least: 50},
	{name: "slow project files of an administrator", prepare: withRole("greedy", "ssis_admin"), attack: slowProjects,
		least: 20},
	{name: "values without end of a worker", prepare: asWorker, attack: valuesWithoutEnd, least: 20},
	{name: "event streams of one certificate", prepare: leastPrivileged, attack: eventStreams, least: 300},
	{name: "calls without end of a user without a role", prepare: leastPrivileged, attack: callsWithoutEnd, least: 300},
	{name: "calls without end of an executor", prepare: withRole("reader", "ssis_cluster_executor"),
		attack: callsWithoutEnd, least: 500},
	{name: "workers without end of one certificate", prepare: asWorker, attack: workersWithoutEnd, least: 100,
		after: fewWorkers},
	{name: "executions without end", prepare: asExecutor, attack: executionsWithoutEnd, least: 100},
}

const manyWorkersName = "many-workers"

func withRole(name string, roles ...string) func(*testing.T, *testcluster.Cluster) map[string]string {
	return func(t *testing.T, c *testcluster.Cluster) map[string]string {
		t.Helper()
		return map[string]string{"certificate": c.Folder(pki.RoleUser, name, roles...)}
	}
}

func asWorker(t *testing.T, c *testcluster.Cluster) map[string]string {
	t.Helper()
	return map[string]string{"certificate": c.Folder(pki.RoleWorker, manyWorkersName)}
}

// asExecutor issues a certificate that may run packages, and deploys a package to run.
func asExecutor(t *testing.T, c *testcluster.Cluster) map[string]string {
	t.Helper()
	c.Deploy("Attack", "Attack", map[string]string{"run.sh": "exit 0\n"})
	return map[string]string{"certificate": c.Folder(pki.RoleUser, "busy", "ssis_cluster_executor")}
}

// ask sends one request on a connection of its own and reads the answer. The head announces size bytes; the body may be
// shorter.
func (x *attacker) ask(ctx context.Context, i int, method, path string, size int, body io.Reader,
	most time.Duration) (*http.Response, error) {
	c, err := x.tls(ctx, x.master(i), x.Args["certificate"])
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	_ = c.SetDeadline(time.Now().Add(most))
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", method, path,
		size); err != nil {
		return nil, err
	}
	x.did.Add(1)
	sent := make(chan struct{})
	go func() { defer close(sent); _, _ = io.Copy(c, body) }()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
	}
	_ = c.Close()
	<-sent
	return resp, err
}

// accepted returns an error for an answer that is not 2xx.
func accepted(resp *http.Response, err error) error {
	if err == nil && resp.StatusCode >= 300 {
		return errTurnedAway
	}
	return err
}

const procedures = "/v1/catalog/procedures/"

// projectsWithoutARole sends bodies of the largest size that a project file may have.
func projectsWithoutARole(ctx context.Context, x *attacker) error {
	return x.many(ctx, 80, func(ctx context.Context, i int) error {
		body := `{"folder_name":"F","project_name":"P","project_stream":"` + strings.Repeat("AAAA", 11<<18) + `"}`
		return accepted(x.ask(ctx, i, "POST", procedures+"deploy_project", len(body), strings.NewReader(body), time.Minute))
	})
}

// trickle yields one byte per second until its context ends.
type trickle struct{ ctx context.Context }

func (t trickle) Read(p []byte) (int, error) {
	select {
	case <-t.ctx.Done():
		return 0, io.EOF
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	}
}

// slowBodies announces the largest body that every caller may send; the masters refuse it only when they read it.
func slowBodies(ctx context.Context, x *attacker) error {
	return x.many(ctx, 400, func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		return accepted(x.ask(ctx, i, "POST", procedures+"start_execution", 256<<10, trickle{ctx}, 20*time.Second))
	})
}

func slowProjects(ctx context.Context, x *attacker) error {
	return x.many(ctx, 80, func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		begin := `{"folder_name":"F","project_name":"P","project_stream":"` + strings.Repeat("AAAA", 10<<18)
		return accepted(x.ask(ctx, i, "POST", procedures+"deploy_project", 11<<20,
			io.MultiReader(strings.NewReader(begin), trickle{ctx}), 20*time.Second))
	})
}

// valuesWithoutEnd sends lists whose elements take far more memory than their text.
func valuesWithoutEnd(ctx context.Context, x *attacker) error {
	body := `{"instance":"i","sequence":1,"wait_ms":0,"slots":1,"ended":[` + strings.Repeat("{},", 8<<20/3-100) + `{}]}`
	return x.many(ctx, 20, func(ctx context.Context, i int) error {
		return accepted(x.ask(ctx, i, "POST", "/v1/workers/00000000-0000-4000-8000-000000000000/exchange", len(body),
			strings.NewReader(body), time.Minute))
	})
}

func eventStreams(ctx context.Context, x *attacker) error {
	return x.many(ctx, 1500, func(ctx context.Context, i int) error {
		return accepted(x.ask(ctx, i, "GET", "/v1/events?after=0", 0, strings.NewReader(""), time.Minute))
	})
}

// callsWithoutEnd reads views on kept connections, each as soon as the previous call is answered or refused.
func callsWithoutEnd(ctx context.Context, x *attacker) error {
	return x.many(ctx, 300, func(ctx context.Context, i int) error {
		c, err := x.tls(ctx, x.master(i), x.Args["certificate"])
		if err != nil {
			return err
		}
		defer c.Close()
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		defer stop()
		in := bufio.NewReader(c)
		for ctx.Err() == nil {
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			if _, err := io.WriteString(c, "GET /v1/catalog/views/executions HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				return err
			}
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return err
			}
			x.did.Add(1)
		}
		return nil
	})
}

// workersWithoutEnd registers one worker after the other, each as large as allowed.
func workersWithoutEnd(ctx context.Context, x *attacker) error {
	name := strings.Repeat("x", 500)
	extensions := make([]string, 64)
	for i := range extensions {
		extensions[i] = fmt.Sprintf(`".%030d"`, i)
	}
	return x.many(ctx, 32, func(ctx context.Context, i int) error {
		body := fmt.Sprintf(`{"agent_id":"%08x-0000-4000-8000-000000000000","instance":%q,"machine_id":%q,"boot_id":%q,"version":%q,"machine_name":%q,`+
			`"user_account":%q,"display_name":%q,"description":%q,"max_task_count":1000000,"lease_ms":600000,"task_heartbeat_ms":10000,`+
			`"agent_heartbeat_ms":10000,"error_tolerance_ms":6000000,"extensions":[%s],"bitness":[64],"running":[],"ended":[]}`,
			i+1, name, name, name, name, name, name, name, name[:256], strings.Join(extensions, ","))
		return accepted(x.ask(ctx, i, "POST", "/v1/workers/register", len(body), strings.NewReader(body), time.Minute))
	})
}

func fewWorkers(t *testing.T, c *testcluster.Cluster) {
	page, err := c.Admin().View(t.Context(), "worker_agents",
		client.Query{Equal: map[string]any{"CertificateName": manyWorkersName}, PageSize: 1000})
	if err != nil || len(page.Rows) == 0 || len(page.Rows) > 64 {
		t.Errorf("%d workers of one certificate (%v)", len(page.Rows), err)
	}
	for _, r := range page.Rows {
		if n, _ := r.Int("MaxTaskCount"); n > 1000 {
			t.Errorf("a worker runs %d tasks at once", n)
		}
	}
}

func executionsWithoutEnd(ctx context.Context, x *attacker) error {
	body := `{"folder_name":"Attack","project_name":"Attack","package_name":"run.sh","runinscaleout":true}`
	return x.many(ctx, 64, func(ctx context.Context, i int) error {
		return accepted(x.ask(ctx, i, "POST", procedures+"create_execution", len(body), strings.NewReader(body), time.Minute))
	})
}
