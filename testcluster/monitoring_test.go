package testcluster_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"scaleout/cmd/master"
	"scaleout/fsm/catalog"
	"scaleout/testcluster"
)

// alertFile is the part of an alert file that Prometheus reads; the strict decoder refuses other fields. Prometheus's
// own parser of rules and expressions is a separate program (deploy/tools/promql), so that its modules are not part of
// this one.
type alertFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Record string
			Expr          string
			For           string
			Labels        map[string]string
			Annotations   map[string]string
		}
	}
}

func readAlerts(t *testing.T, name string) alertFile {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "deploy", "prometheus", name))
	if err != nil {
		t.Fatal(err)
	}
	var f alertFile
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

// dashboardQueries returns the expressions of the dashboard by panel.
func dashboardQueries(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "deploy", "grafana", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ RefID, Expr string }
		}
		Annotations struct {
			List []struct{ Name, Expr string }
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, p := range d.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks nothing", p.Title)
		}
		for _, q := range p.Targets {
			out[p.Title+" "+q.RefID] = q.Expr
		}
	}
	for _, a := range d.Annotations.List {
		out[a.Name] = a.Expr
	}
	return out
}

// get reads a path of one master without a certificate.
func get(t *testing.T, c *testcluster.Cluster, i int, path string) *http.Response {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("https://" + c.Address(i) + path)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// exposed returns the metrics of a cluster's masters: label values by metric and label.
type exposed map[string]map[string]map[string]bool

func scrape(t *testing.T, c *testcluster.Cluster, n int) exposed {
	t.Helper()
	out := exposed{}
	for i := range n {
		out.add(families(t, c, i))
	}
	return out
}

func scrapeOne(t *testing.T, c *testcluster.Cluster, i int) exposed {
	t.Helper()
	out := exposed{}
	out.add(families(t, c, i))
	return out
}

// scrapeValues returns the values of a gauge whose label has a value.
func scrapeValues(t *testing.T, c *testcluster.Cluster, i int, name, label, value string) (out []float64) {
	t.Helper()
	for _, m := range families(t, c, i)[name].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label && l.GetValue() == value {
				out = append(out, m.GetGauge().GetValue())
			}
		}
	}
	return out
}

func families(t *testing.T, c *testcluster.Cluster, i int) map[string]*dto.MetricFamily {
	t.Helper()
	resp := get(t, c, i, "/metrics")
	defer resp.Body.Close()
	parse := expfmt.NewTextParser(model.UTF8Validation)
	out, err := parse.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (e exposed) add(families map[string]*dto.MetricFamily) {
	for name, f := range families {
		names := []string{name}
		if f.GetType() == dto.MetricType_HISTOGRAM {
			names = []string{name + "_bucket", name + "_sum", name + "_count"}
		}
		for _, name := range names {
			if e[name] == nil {
				e[name] = map[string]map[string]bool{}
			}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if e[name][l.GetName()] == nil {
						e[name][l.GetName()] = map[string]bool{}
					}
					e[name][l.GetName()][l.GetValue()] = true
				}
			}
		}
	}
}

// promExpression is what deploy/tools/promql returns for an expression.
type promExpression struct {
	Error     string
	Selectors []struct {
		Name     string
		Matchers []struct{ Name, Type, Value string }
	}
}

// promQL runs deploy/tools/promql, which parses as Prometheus does.
func promQL(t *testing.T, in io.Reader, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"-C", "../deploy/tools/promql", "run", "."}, args...)...)
	var told bytes.Buffer
	cmd.Stdin, cmd.Stderr = in, &told
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("deploy/tools/promql: %v\n%s", err, told.String())
	}
	return out
}

// parseExpressions parses expressions and returns them by their text.
func parseExpressions(t *testing.T, list []string) map[string]promExpression {
	t.Helper()
	filled := make([]string, len(list))
	for i, expr := range list {
		filled[i] = strings.ReplaceAll(expr, "$__rate_interval", "5m") // the dashboard's variable
	}
	in, err := json.Marshal(filled)
	if err != nil {
		t.Fatal(err)
	}
	var answers []promExpression
	if err := json.Unmarshal(promQL(t, bytes.NewReader(in)), &answers); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]promExpression, len(list))
	for i, expr := range list {
		out[expr] = answers[i]
	}
	return out
}

// missing lists what an expression uses and no master exposes: a metric, a label, or a fixed label value of ours.
func (e exposed) missing(expr promExpression) []string {
	if expr.Error != "" {
		return []string{expr.Error}
	}
	var wrong []string
	for _, s := range expr.Selectors {
		if s.Name == "up" { // Prometheus itself adds this metric
			continue
		}
		shown, ok := e[s.Name]
		if !ok {
			wrong = append(wrong, "no master shows "+s.Name)
			continue
		}
		for _, m := range s.Matchers {
			if m.Name == "__name__" || m.Name == "job" || m.Name == "instance" {
				continue
			}
			values := slices.Sorted(maps.Keys(shown[m.Name]))
			matches := func(value string) bool { return regexp.MustCompile("^(?s:" + m.Value + ")$").MatchString(value) }
			switch {
			case len(values) == 0:
				wrong = append(wrong, s.Name+" has no label "+m.Name)
			case slices.Contains([]string{"folder", "project", "package"}, m.Name): // any value of the catalog
			case m.Type == "=" && !slices.Contains(values, m.Value):
				wrong = append(wrong, fmt.Sprintf("%s{%s=%q}: the values are %v", s.Name, m.Name, m.Value, values))
			case m.Type == "=~" && !slices.ContainsFunc(values, matches):
				wrong = append(wrong, fmt.Sprintf("%s{%s=~%q} matches none of %v", s.Name, m.Name, m.Value, values))
			}
		}
	}
	return wrong
}

// documentQueries returns the queries in a document. A line that begins with "or" continues the previous query.
func documentQueries(t *testing.T, name string) (out []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(raw), "```promql\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for line := range strings.Lines(block) {
			if strings.HasPrefix(line, "or ") {
				out[len(out)-1] += line
			} else {
				out = append(out, line)
			}
		}
	}
	if len(out) < 5 {
		t.Errorf("only %d queries were read in %s", len(out), name)
	}
	return out
}

// A running cluster exposes every metric that the alerts and the dashboard use, with the labels that they use.
func TestAlertsAndDashboardAskForWhatThereIs(t *testing.T) {
	c := testcluster.Start(t, 3, testcluster.Settings(func(_ int, cfg *master.Config) { cfg.MetricsOpen = true }))
	c.Deploy("ETL", "Jobs", map[string]string{"work.sh": "true\n"})
	c.Worker(testcluster.WorkerConfig{})
	c.Deploy("ETL", "Sales", map[string]string{"fail.sh": "exit 1\n"})
	c.WaitStatus(c.Run("ETL/Jobs/work.sh", 0, nil), 30*time.Second, int64(catalog.Succeeded))
	c.WaitStatus(c.Run("ETL/Sales/fail.sh", 0, nil), 30*time.Second, int64(catalog.Failed))
	get(t, c, 0, "/v1/cluster").Body.Close() // without a certificate: it is refused
	shown := scrape(t, c, 3)

	promQL(t, nil, "../../prometheus/alerts.yml", "../../prometheus/jobs.yml")
	queries, documented := dashboardQueries(t), documentQueries(t, "alerting.md")
	// This checks the test: it must find what is missing.
	bad := []string{"scaleout_nothing", `scaleout_events_total{type="nothing"}`, `scaleout_ready{color="red"}`, "sum(("}
	all := slices.Concat(documented, bad, slices.Collect(maps.Values(queries)))
	for _, name := range []string{"jobs.yml", "alerts.yml"} {
		for _, g := range readAlerts(t, name).Groups {
			for _, r := range g.Rules {
				all = append(all, r.Expr)
			}
		}
	}
	parsed := parseExpressions(t, all)
	for _, g := range readAlerts(t, "jobs.yml").Groups {
		for _, r := range g.Rules {
			if wrong := shown.missing(parsed[r.Expr]); len(wrong) > 0 || r.Alert != "" || r.Labels["folder"] == "" ||
				r.Labels["project"] == "" || r.Labels["package"] == "" {
				t.Errorf("jobs.yml: %+v: %q", r, wrong)
			}
			shown[r.Record] = map[string]map[string]bool{}
		}
	}
	for _, expr := range documented {
		for _, w := range shown.missing(parsed[expr]) {
			t.Errorf("docs/alerting.md: %s: %s", expr, w)
		}
	}

	seen := map[string]bool{}
	duration := regexp.MustCompile(`^[0-9]+[smhd]$`)
	for _, g := range readAlerts(t, "alerts.yml").Groups {
		for _, r := range g.Rules {
			if seen[r.Alert] {
				t.Errorf("%s: twice", r.Alert)
			}
			seen[r.Alert] = true
			for _, w := range shown.missing(parsed[r.Expr]) {
				t.Errorf("%s: %s", r.Alert, w)
			}
			if r.For != "" && !duration.MatchString(r.For) {
				t.Errorf("%s: for %q is no duration", r.Alert, r.For)
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
			if r.Annotations["summary"] == "" {
				t.Errorf("%s: no summary", r.Alert)
			}
		}
	}
	if len(seen) < 15 {
		t.Errorf("only %d alerts were read", len(seen))
	}
	for panel, expr := range queries {
		for _, w := range shown.missing(parsed[expr]) {
			t.Errorf("%s: %s", panel, w)
		}
	}
	if len(queries) < 20 {
		t.Errorf("only %d queries were read", len(queries))
	}
	for _, must := range []string{"scaleout_cert_expiry_timestamp_seconds", "scaleout_disk_free_bytes",
		"scaleout_blobs_missing", "scaleout_build_info"} {
		if shown[must] == nil {
			t.Errorf("no master shows %s", must)
		}
	}
	for _, expr := range bad {
		if len(shown.missing(parsed[expr])) == 0 {
			t.Errorf("%s was let through", expr)
		}
	}
}
