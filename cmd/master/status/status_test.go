package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"scaleout/cluster"
	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCluster is the node of master a, the state and the other masters.
type fakeCluster struct {
	members []cluster.Member
	own     Host
	others  map[string]Host // by id; who is not here never answers
	refused map[string]bool
	state   *catalog.State
}

func (f *fakeCluster) ID() string                               { return "a" }
func (f *fakeCluster) Now() time.Time                           { return time.Unix(1000, 0) }
func (f *fakeCluster) IsLeader() (uint64, bool)                 { return 3, true }
func (f *fakeCluster) Members(context.Context) []cluster.Member { return slices.Clone(f.members) }
func (f *fakeCluster) Reader() *catalog.Reader                  { return f.state.Reader() }

// RoundTrip is the connection to the other masters.
func (f *fakeCluster) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path != Path {
		return nil, errors.New("another path: " + req.URL.Path)
	}
	id := req.URL.Host
	h, ok := f.others[id]
	w := httptest.NewRecorder()
	switch {
	case f.refused[id]:
		w.WriteHeader(http.StatusForbidden)
	case !ok:
		<-req.Context().Done()
		return nil, req.Context().Err()
	default:
		(&Reporter{Config{Host: func() Host { return h }}}).ServeHTTP(w, req)
	}
	return w.Result(), nil
}

func newCluster(t *testing.T, members ...cluster.Member) (*fakeCluster, *Reporter) {
	f := &fakeCluster{members: members, others: map[string]Host{}, refused: map[string]bool{}, state: catalog.NewState()}
	f.apply(t, &command.InitCluster{ClusterID: "c1", Level: command.Level})
	return f, New(Config{
		Node: f, State: f, Host: func() Host { return f.own }, Peers: &http.Client{Transport: f},
		Logger: slog.New(slog.DiscardHandler),
	})
}

func (f *fakeCluster) apply(t *testing.T, cmd command.Command) {
	t.Helper()
	env, err := command.Wrap(cmd)
	if err != nil {
		t.Fatal(err)
	}
	index := f.state.Index() + 1
	env.Time = command.Time(index)
	if _, err := f.state.Apply(index, env); err != nil {
		t.Fatal(err)
	}
	f.state.Commit(index)
}

// voter is a healthy member.
func voter(id string, change ...func(*cluster.Member)) cluster.Member {
	m := cluster.Member{
		ID: id, Name: "m-" + id, Address: id + ":1", Role: wire.RoleVoter, Alive: true, Self: id == "a", Version: "v1",
		Level: 2,
	}
	for _, c := range change {
		c(&m)
	}
	return m
}

func TestHealth(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(m *cluster.Member)
		want   string
	}{
		{"healthy", func(*cluster.Member) {}, "healthy"},
		{"silent", func(m *cluster.Member) { m.Err = "too late"; m.Stopping = true }, "does not answer: too late"},
		{"oneself", func(m *cluster.Member) { m.Err = "no answer in time"; m.Self = true }, "healthy"},
		{"stopping", func(m *cluster.Member) { m.Stopping = true; m.Disk = "full" }, "stopping"},
		{"outside", func(m *cluster.Member) { m.Role = outside; m.State = "joining" }, "not a member: joining"},
		{"disk", func(m *cluster.Member) { m.Disk = "full"; m.Lag = lagWarning + 1 }, "disk: full"},
		{"a little behind", func(m *cluster.Member) { m.Lag = lagWarning }, "healthy"},
		{"behind", func(m *cluster.Member) { m.Lag = lagWarning + 1 }, "10001 entries behind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := health(voter("b", c.change)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestFailureTolerance(t *testing.T) {
	ill := func(m *cluster.Member) { m.Disk = "full" }
	nonvoter := func(m *cluster.Member) { m.Role = wire.RoleNonvoter }
	for _, c := range []struct {
		name    string
		members []cluster.Member
		want    int
	}{
		{"one", []cluster.Member{voter("a")}, 0},
		{"two", []cluster.Member{voter("a"), voter("b")}, 0},
		{"three", []cluster.Member{voter("a"), voter("b"), voter("c")}, 1},
		{"three and one ill", []cluster.Member{voter("a"), voter("b"), voter("c", ill)}, 0},
		{"three and two ill", []cluster.Member{voter("a"), voter("b", ill), voter("c", ill)}, 0},
		{"three and a nonvoter", []cluster.Member{voter("a"), voter("b"), voter("c"), voter("d", nonvoter)}, 1},
		{"five", []cluster.Member{voter("a"), voter("b"), voter("c"), voter("d"), voter("e")}, 2},
		{"none", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, r := newCluster(t, c.members...)
			for _, m := range c.members {
				f.others[m.ID] = Host{}
			}
			if got := r.Cluster(t.Context()).FailureTolerance; got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

func TestClusterShowsWhatMastersTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := func(m *cluster.Member) { m.Alive = false; m.Err = "connection refused" }
		f, r := newCluster(t, voter("a"), voter("b"), voter("c"), voter("d", dead))
		expires := time.Now().Add(10*24*time.Hour + time.Minute)
		f.own = Host{NotAfter: time.Now().AddDate(1, 0, 0), Settings: map[string]string{"RetryDelayInMs": "1", "Same": "x"}}
		f.others["b"] = Host{
			NotAfter: expires, MissingBlobs: 2, DamagedBlobs: 1, Settings: map[string]string{"RetryDelayInMs": "2", "Same": "x"},
		}
		began := time.Now()
		got := r.Cluster(t.Context()) // c never answers
		if took := time.Since(began); took != askTimeout {
			t.Errorf("it took %v, want %v", took, askTimeout)
		}
		if got.ClusterID != "c1" || got.Term != 3 || len(got.Members) != 4 || got.FailureTolerance != 0 {
			t.Errorf("%+v", got)
		}
		a, b, c := got.Members[0], got.Members[1], got.Members[2]
		if b.MissingBlobs != 2 || b.CertificateNotAfter == nil || !b.CertificateNotAfter.Equal(expires) ||
			b.Address != "https://b:1" {
			t.Errorf("%+v", b)
		}
		if a.LastContactMs != 0 || c.LastContactMs != -1 || c.CertificateNotAfter != nil {
			t.Errorf("%+v, %+v", a, c)
		}
		want := []string{
			"the certificate of m-b expires in 10 days", "m-b lacks 2 blobs that are named",
			"m-b found 1 damaged blobs on its disk since it started and fetches them again: look at its disk",
		}
		if !slices.Equal(got.Warnings, want) {
			t.Errorf("warnings %q, want %q", got.Warnings, want)
		}
		if len(got.Settings) != 1 || got.Settings[0].Name != "RetryDelayInMs" || len(got.Settings[0].Values) != 2 {
			t.Errorf("settings %+v", got.Settings)
		}
	})
}

func TestAnswersWithoutContentAreNoNull(t *testing.T) {
	_, r := newCluster(t)
	raw, err := json.Marshal(r.Cluster(t.Context()))
	if err != nil || strings.Contains(string(raw), "null") {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestClocksThatAreOffAreWarnedOf(t *testing.T) {
	for offset, want := range map[time.Duration]int{30 * time.Second: 0, 31 * time.Second: 1, -31 * time.Second: 1} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprint(offset, known), func(t *testing.T) {
				x := voter("b", func(m *cluster.Member) { m.ClockOffset = offset; m.ClockKnown = known })
				if got := warnings(x, Host{}); len(got) != want && known || len(got) != 0 && !known {
					t.Errorf("%q", got)
				}
			})
		}
	}
}

func TestBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := newCluster(t,
			voter("a", func(m *cluster.Member) { m.Leader = true }),
			voter("b"), // answers
			voter("c"), // does not answer, and has a row
			voter("d"), // does not answer, and has none
			voter("e", func(m *cluster.Member) { m.Role = outside }), // not a member
			voter("f"), // refuses
		)
		f.own = Host{Machine: "own"}
		f.others["b"], f.refused["f"] = Host{Machine: "box", IP: "10.0.0.2", Port: 1, Thumbprint: "T", Instance: "I"}, true
		f.apply(t, &command.Beat{Masters: []command.MasterBeat{
			{ID: "c", Name: "m-c", Machine: "old", Leader: true, LastOnline: 5}, {ID: "x", Name: "m-x"},
		}})
		rows, gone := r.Beats(t.Context())
		now := command.At(f.Now())
		row := func(id string) command.MasterBeat {
			return command.MasterBeat{ID: id, Name: "m-" + id, Address: "https://" + id + ":1", Version: "v1", Level: 2}
		}
		a, b := row("a"), row("b")
		a.Leader, a.Machine, a.LastOnline = true, "own", now
		b.Machine, b.IP, b.Port, b.Thumbprint, b.Instance, b.LastOnline = "box", "10.0.0.2", 1, "T", "I", now
		want := []command.MasterBeat{a, b, {ID: "c", Name: "m-c", Machine: "old", LastOnline: 5}, row("d"), row("f")}
		if !slices.Equal(rows, want) {
			t.Errorf("rows\n%+v, want\n%+v", rows, want)
		}
		if !slices.Equal(gone, []string{"x"}) {
			t.Errorf("gone %q", gone)
		}
	})
}
