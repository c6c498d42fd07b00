package metrics

import (
	"context"
	"crypto/x509"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
)

// fakeMaster is what the metrics are read from.
type fakeMaster struct {
	state    *catalog.State
	caughtUp chan struct{}
	ready    bool
	cas      []*x509.Certificate
	diskErr  error
}

func (f *fakeMaster) Reader() *catalog.Reader  { return f.state.Reader() }
func (f *fakeMaster) Leaf() *x509.Certificate  { return &x509.Certificate{Raw: []byte("leaf")} }
func (f *fakeMaster) NotAfter() time.Time      { return time.Unix(1000, 0) }
func (f *fakeMaster) CAs() []*x509.Certificate { return f.cas }

func newMaster() *fakeMaster {
	return &fakeMaster{state: catalog.NewState(), caughtUp: make(chan struct{}), cas: []*x509.Certificate{
		{Raw: []byte("ca"), NotAfter: time.Unix(2000, 0)},
	}}
}

// gather returns what a scrape shows, by name.
func gather(t *testing.T, f *fakeMaster) map[string][]*dto.Metric {
	t.Helper()
	r := prometheus.NewRegistry()
	Register(r, Config{
		Version: "v1", Ready: func(context.Context) bool { return f.ready }, Credentials: f,
		FreeBytes:    func() (uint64, error) { return 17, f.diskErr },
		MissingBlobs: func() int { return 2 }, DamagedBlobs: func() int { return 3 }, State: f, CaughtUp: f.caughtUp,
	})
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]*dto.Metric{}
	for _, m := range families {
		out[m.GetName()] = m.GetMetric()
	}
	return out
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func TestGauges(t *testing.T) {
	f := newMaster()
	got := gather(t, f)
	for name, want := range map[string]float64{
		"scaleout_ready": 0, "scaleout_build_info": 1, "scaleout_disk_free_bytes": 17, "scaleout_blobs_missing": 2,
	} {
		if m := got[name]; len(m) != 1 || m[0].GetGauge().GetValue() != want {
			t.Errorf("%s: %v, want %v", name, m, want)
		}
	}
	if m := got["scaleout_blobs_damaged_total"]; len(m) != 1 || m[0].GetCounter().GetValue() != 3 {
		t.Errorf("damaged: %v", m)
	}
	f.ready, f.diskErr = true, errors.New("no answer")
	got = gather(t, f)
	if m := got["scaleout_ready"]; m[0].GetGauge().GetValue() != 1 {
		t.Errorf("ready: %v", m)
	}
	if m := got["scaleout_disk_free_bytes"]; !math.IsNaN(m[0].GetGauge().GetValue()) {
		t.Errorf("a disk that does not answer: %v", m)
	}
}

// A CA that is trusted twice is shown once: a series that occurs twice fails the scrape.
func TestCertificates(t *testing.T) {
	f := newMaster()
	f.cas = append(f.cas, f.cas[0], &x509.Certificate{Raw: []byte("new"), NotAfter: time.Unix(3000, 0)})
	ends := map[float64]string{}
	for _, m := range gather(t, f)["scaleout_cert_expiry_timestamp_seconds"] {
		ends[m.GetGauge().GetValue()] = label(m, "kind")
	}
	if len(ends) != 3 || ends[1000] != "leaf" || ends[2000] != "ca" || ends[3000] != "ca" {
		t.Errorf("%v", ends)
	}
}

func TestExecutions(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("Nightly"))
	w.Register(fsmtest.WorkerOne, "box")
	for _, outcome := range []command.Outcome{command.Succeeded, command.Succeeded, command.Failed} {
		id := w.Started(fsmtest.Alice)
		w.Grant(id, 1, fsmtest.WorkerOne, "box")
		w.Report(id, 1, fsmtest.WorkerOne, "box", outcome, 0)
	}
	f := newMaster()
	f.state = w.State
	for _, name := range []string{"scaleout_executions_ended_total", "scaleout_execution_queue_seconds"} {
		if m := gather(t, f)[name]; m != nil {
			t.Errorf("a master that still applies what it has missed shows %v", m)
		}
	}
	close(f.caughtUp)
	got := gather(t, f)
	ended := map[string]float64{}
	for _, m := range got["scaleout_executions_ended_total"] {
		if label(m, "project") == "" || label(m, "folder") == "" || label(m, "package") == "" {
			t.Errorf("labels %v", m.GetLabel())
		}
		ended[label(m, "status")] += m.GetCounter().GetValue()
	}
	if ended["succeeded"] != 2 || ended["failed"] != 1 {
		t.Errorf("ended %v", ended)
	}
	var observed uint64
	for _, m := range got["scaleout_execution_duration_seconds"] {
		if strings.Contains(label(m, "status"), " ") {
			t.Errorf("a status with a blank: %v", m.GetLabel())
		}
		observed += m.GetHistogram().GetSampleCount()
	}
	if queued := got["scaleout_execution_queue_seconds"]; observed != 3 || queued[0].GetHistogram().GetSampleCount() != 3 {
		t.Errorf("%d durations, queue %v", observed, queued)
	}
	last := 0
	for _, m := range got["scaleout_executions_last_ended_timestamp_seconds"] {
		if m.GetGauge().GetValue() > 0 {
			last++
		}
	}
	if last != 2 {
		t.Errorf("%d times of last endings, want one for each status", last)
	}
}
