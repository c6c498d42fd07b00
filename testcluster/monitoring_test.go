package testcluster_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"scaleout/cmd/master"
	"scaleout/fsm/catalog"
	"scaleout/testcluster"
)

// alertFile is what Prometheus reads; the strict decoder refuses what it would not know. Its own reader of rules would
// bring the whole query engine with it, so only its parser of expressions is used.
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

// dashboardQueries are the expressions of the dashboard, by panel.
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

// get asks one master, as somebody without a certificate.
func get(t *testing.T, c *testcluster.Cluster, i int, path string) *http.Response {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("https://" + c.Address(i) + path)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// exposed is what the masters of a cluster show: label values by metric and label.
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

// scrapeValues are the values of a gauge whose label has a value.
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

// fits reports what an expression asks for and nobody shows: a metric, a label of it, or one of our fixed values.
func (e exposed) fits(expr string) []string {
	// What a dashboard leaves to be filled in.
	expr = strings.ReplaceAll(expr, "$__rate_interval", "5m")
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok || s.Name == "up" { // Prometheus makes it
			return nil
		}
		shown, ok := e[s.Name]
		if !ok {
			wrong = append(wrong, "no master shows "+s.Name)
			return nil
		}
		for _, m := range s.LabelMatchers {
			if m.Name == labels.MetricName || m.Name == "job" || m.Name == "instance" {
				continue
			}
			values := shown[m.Name]
			switch {
			case len(values) == 0:
				wrong = append(wrong, s.Name+" has no label "+m.Name)
			case slices.Contains([]string{"folder", "project", "package"}, m.Name): // whatever the catalog has
			case m.Type == labels.MatchEqual && !values[m.Value]:
				wrong = append(wrong, fmt.Sprintf("%s{%s=%q}: the values are %v", s.Name, m.Name, m.Value, slices.Sorted(maps.Keys(values))))
			case m.Type == labels.MatchRegexp && !slices.ContainsFunc(slices.Collect(maps.Keys(values)), m.Matches):
				wrong = append(wrong, fmt.Sprintf("%s{%s=~%q} matches none of %v", s.Name, m.Name, m.Value, slices.Sorted(maps.Keys(values))))
			}
		}
		return nil
	})
	return wrong
}

// promQL are the queries of a document. A line that begins with "or" goes on with the query before it.
func promQL(t *testing.T, name string) (out []string) {
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

// Every metric that the alerts and the dashboard ask for is shown by a running cluster, with the labels they ask for.
func TestAlertsAndDashboardAskForWhatThereIs(t *testing.T) {
	c := testcluster.Start(t, 3, testcluster.Settings(func(_ int, cfg *master.Config) { cfg.MetricsOpen = true }))
	c.Deploy("ETL", "Jobs", map[string]string{"work.sh": "true\n"})
	c.Worker(testcluster.WorkerConfig{})
	c.Deploy("ETL", "Sales", map[string]string{"fail.sh": "exit 1\n"})
	c.WaitStatus(c.Run("ETL/Jobs/work.sh", 0, nil), 30*time.Second, int64(catalog.Succeeded))
	c.WaitStatus(c.Run("ETL/Sales/fail.sh", 0, nil), 30*time.Second, int64(catalog.Failed))
	get(t, c, 0, "/v1/cluster").Body.Close() // without a certificate, to be refused
	shown := scrape(t, c, 3)
	for _, g := range readAlerts(t, "jobs.yml").Groups {
		for _, r := range g.Rules {
			if wrong := shown.fits(r.Expr); len(wrong) > 0 || r.Alert != "" || r.Labels["folder"] == "" || r.Labels["project"] == "" || r.Labels["package"] == "" {
				t.Errorf("jobs.yml: %+v: %q", r, wrong)
			}
			shown[r.Record] = map[string]map[string]bool{}
		}
	}
	for _, expr := range promQL(t, "alerting.md") {
		for _, w := range shown.fits(expr) {
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
			for _, w := range shown.fits(r.Expr) {
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
	queries := dashboardQueries(t)
	for panel, expr := range queries {
		for _, w := range shown.fits(expr) {
			t.Errorf("%s: %s", panel, w)
		}
	}
	if len(queries) < 20 {
		t.Errorf("only %d queries were read", len(queries))
	}
	for _, must := range []string{"scaleout_cert_expiry_timestamp_seconds", "scaleout_disk_free_bytes", "scaleout_blobs_missing", "scaleout_build_info"} {
		if shown[must] == nil {
			t.Errorf("no master shows %s", must)
		}
	}
	// The test itself: it must not be content with everything.
	for _, bad := range []string{"scaleout_nothing", `scaleout_events_total{type="nothing"}`, `scaleout_ready{color="red"}`, "sum(("} {
		if len(shown.fits(bad)) == 0 {
			t.Errorf("%s was let through", bad)
		}
	}
}
