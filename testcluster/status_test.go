package testcluster_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/cmd/master"
	"scaleout/httpapi/client"
	"scaleout/testcluster"
)

// getJSON reads a path of one master.
func getJSON(t *testing.T, who *http.Client, url string, into any) *http.Response {
	t.Helper()
	resp, err := who.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %d %.200s: %v", url, resp.StatusCode, raw, err)
	}
	return resp
}

// Every master names the leader and the voters in the format that scripts rely on. Without a majority no master names a
// leader.
func TestStatusOfEveryMaster(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	leader := c.Leader()
	who := c.As(pki.RoleWorker, "anyone")
	var addresses []string
	for i := range 3 {
		addresses = append(addresses, c.Address(i))
	}
	slices.Sort(addresses)
	for i := range 3 {
		at := "https://" + c.Address(i)
		c.Eventually("master knows the leader", 10*time.Second, func() bool {
			resp, err := who.Get(at + "/v1/status/leader")
			if err == nil {
				resp.Body.Close()
			}
			return err == nil && resp.StatusCode == http.StatusOK
		})
		var said map[string]any
		getJSON(t, who, at+"/v1/status/leader", &said)
		if keys := slices.Sorted(maps.Keys(said)); !slices.Equal(keys, []string{"address", "id", "name", "since", "term"}) {
			t.Errorf("the fields are %v", keys)
		}
		if said["name"] != c.Name(leader) || said["address"] != "https://"+c.Address(leader) {
			t.Errorf("%s says %v, want %s", at, said, c.Name(leader))
		}
		if _, err := time.Parse(time.RFC3339Nano, said["since"].(string)); err != nil {
			t.Error(err)
		}
		var peers []string
		getJSON(t, who, at+"/v1/status/peers", &peers)
		if slices.Sort(peers); !slices.Equal(peers, addresses) {
			t.Errorf("the peers are %v, want %v", peers, addresses)
		}
		want := map[bool]int{true: 200, false: 503}[i == leader]
		// a new leader is not ready at once
		c.Eventually(fmt.Sprintf("/leader of %s is %d", at, want), 10*time.Second, func() bool {
			resp, err := c.Nobody().Get(at + "/leader")
			if err == nil {
				resp.Body.Close()
			}
			return err == nil && resp.StatusCode == want
		})
	}
	for _, i := range c.Others(leader) {
		c.Kill(i)
	}
	at := "https://" + c.Address(leader)
	c.Eventually("the one that is left leads no more", 20*time.Second, func() bool {
		var problem struct {
			Code   string `json:"code"`
			Status int    `json:"status"`
		}
		resp := getJSON(t, who, at+"/v1/status/leader", &problem)
		return resp.StatusCode == 503 && problem.Code == "no_leader" && problem.Status == 503 &&
			resp.Header.Get("Retry-After") != ""
	})
}

// The leader's settings are in force and are the seven rows of master_properties. A master with other settings is
// named.
func TestSettingsOfTheLeaderCount(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Settings(func(i int, cfg *master.Config) {
		cfg.InstanceName = "SQL" + cfg.Name
		if i == 1 {
			cfg.RetryDelay = 7 * time.Second
		}
	}))
	leader := c.Leader()
	s, err := c.Admin().Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	differs := false
	for _, d := range s.Settings {
		differs = differs || d.Name == "RetryDelayInMs" && d.Values[c.Name(1)] == "7000" && d.Values[c.Name(0)] != "7000"
	}
	if !differs {
		t.Errorf("the differing RetryDelayInMs is not told: %+v", s.Settings)
	}
	var rows []client.Row
	// A leader writes its row right after its election.
	c.Eventually("the leader's properties", 5*time.Second, func() bool {
		page, err := c.Admin().View(t.Context(), "master_properties", client.Query{})
		rows = page.Rows
		return err == nil && len(rows) == 7 && rows[0].Text("property_value") != ""
	})
	host, port, _ := strings.Cut(c.Address(leader), ":")
	want := map[string]string{
		"CLUSTER_LOGDB_SERVER": "SQL" + c.Name(leader), "MASTER_ADDRESS": "https://" + c.Address(leader),
		"MASTER_SERVICE_PORT": port, "MACHINE_IP": host, "LAST_ONLINE_TIME": "", "MACHINE_NAME": "", "SSLCERT_THUMBPRINT": "",
	}
	for _, r := range rows {
		value, ok := want[r.Text("property_name")]
		if got := r.Text("property_value"); !ok || got == "" || value != "" && got != value {
			t.Errorf("%s is %q, want %q", r.Text("property_name"), got, value)
		}
	}
}
