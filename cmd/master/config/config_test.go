package config

import (
	"fmt"
	"net"
	"os"
	"reflect"
	"testing"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/backup"
	"scaleout/fsm/procedure"
)

func TestDefaults(t *testing.T) {
	var c Config
	c.Fill()
	for _, d := range []struct {
		name      string
		got, want any
	}{
		{"PortNumber", c.Port, 8391},
		{"GossipPort", c.GossipPort, 8392},
		{"InstanceName", c.InstanceName, "MSSQLSERVER"},
		{"MasterHeartbeatIntervalInMs", c.Heartbeat, 30 * time.Second},
		{"DealWithExpiredTasksIntervalInMs", c.Expiry, 5 * time.Minute},
		{"CleanupCompletedJobsIntervalInMs", c.Cleanup, 12 * time.Hour},
		{"RetryDelayInMs", c.RetryDelay, 5 * time.Second},
		{"RemoveDeadMastersAfterInMs", c.RemoveDead, time.Duration(0)},
		{"MaxProjectBytes", c.MaxProjectBytes, int64(512 << 20)},
		{"MaxUnnamedBlobBytes", c.MaxUnnamedBlobBytes, int64(2 << 30)},
		{"ExpireNeverEnabledAfterInMs", c.ExpireNeverEnabled, 24 * time.Hour},
		{"IdleTimeoutWithoutCertificateInMs", c.Times.IdleStranger, 10 * time.Second},
		{"the limits of the catalog", c.CatalogLimits, procedure.Limits{
			NotStarted: 20_000, TaskCount: 1000, AgentIDs: 64, NeverEnabled: 10_000}},
		{"the schedule of backups", c.Backups, backup.Schedule{Interval: 24 * time.Hour, Retain: 7}},
		{"a logger", c.Logger != nil, true},
		{"a registry", c.Registry != nil, true},
	} {
		t.Run(d.name, func(t *testing.T) {
			if !reflect.DeepEqual(d.got, d.want) {
				t.Errorf("%v, want %v", d.got, d.want)
			}
		})
	}
}

func TestFillKeepsWhatIsSet(t *testing.T) {
	c := Config{Port: 1, GossipPort: 2, InstanceName: "I", Heartbeat: 3, Expiry: 4, Cleanup: 5, RetryDelay: 6,
		MaxProjectBytes: 7, MaxUnnamedBlobBytes: 8, ExpireNeverEnabled: 9}
	c.CatalogLimits = procedure.Limits{NotStarted: 1, TaskCount: 2, AgentIDs: 3, NeverEnabled: 4}
	c.Backups = backup.Schedule{Interval: 1, Retain: 2}
	c.Times.IdleStranger = 1
	before := c
	c.Fill()
	c.Logger, c.Registry, c.Limits = nil, nil, before.Limits
	if !reflect.DeepEqual(c, before) {
		t.Errorf("%+v became\n%+v", before, c)
	}
}

// Uploads that no project names must leave room for at least one project.
func TestUnnamedBlobsHoldAProject(t *testing.T) {
	c := Config{MaxProjectBytes: 3 << 30}
	c.Fill()
	if c.MaxUnnamedBlobBytes != 3<<30 {
		t.Errorf("MaxUnnamedBlobBytes %d for projects of %d", c.MaxUnnamedBlobBytes, c.MaxProjectBytes)
	}
}

func TestAdvertised(t *testing.T) {
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ setting, want string }{
		{"", net.JoinHostPort(machine, "8391")},
		{"db1.example", "db1.example:8391"},
		{"db1.example:443", "db1.example:443"},
		{"10.0.0.7", "10.0.0.7:8391"},
		{"[fe80::1]", "[fe80::1]:8391"},
		{"[fe80::1]:443", "[fe80::1]:443"},
		{"fe80::1", "[fe80::1]:8391"},
		{":443", net.JoinHostPort(machine, "443")},
	} {
		t.Run(fmt.Sprintf("%q", c.setting), func(t *testing.T) {
			got, err := (&Config{AdvertiseAddress: c.setting}).Advertised(&net.TCPAddr{Port: 8391})
			if err != nil || got != c.want {
				t.Errorf("%q (%v), want %q", got, err, c.want)
			}
		})
	}
}

func TestRaftTiming(t *testing.T) {
	wan, err := cluster.TimingProfile("wan")
	if err != nil {
		t.Fatal(err)
	}
	own := cluster.Timing{Heartbeat: 1}
	for _, c := range []struct {
		name string
		cfg  Config
		want cluster.Timing
		err  bool
	}{
		{"profile", Config{Timing: "wan"}, wan, false},
		{"a test's own", Config{Timing: "wan", Timings: &own}, own, false},
		{"unknown profile", Config{Timing: "moon"}, cluster.Timing{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := c.cfg.RaftTiming(); got != c.want || err != nil != c.err {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

// What differs between masters by its nature must not be reported as a difference.
func TestCommonSettingsArePartOfAll(t *testing.T) {
	var c Config
	c.Fill()
	common, all := c.Common(), c.Settings("m1:8391", cluster.Timing{})
	for name, value := range common {
		if all[name] != value {
			t.Errorf("%s is %q in all settings and %q in the common ones", name, all[name], value)
		}
	}
	for _, name := range []string{"NodeName", "DataDirectory", "AdvertiseAddress", "PortNumber", "CertFile"} {
		if _, ok := common[name]; ok {
			t.Errorf("%s is compared between masters", name)
		}
		if _, ok := all[name]; !ok {
			t.Errorf("%s is not shown", name)
		}
	}
	if all["AdvertiseAddress"] != "m1:8391" {
		t.Errorf("AdvertiseAddress %q", all["AdvertiseAddress"])
	}
}

func TestWideArea(t *testing.T) {
	for profile, want := range map[string]bool{"": false, "lan": false, "fast": false, "wan": true} {
		t.Run(profile, func(t *testing.T) {
			if got := (&Config{Timing: profile}).WideArea(); got != want {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}
