package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"scaleout/cluster/pki"
	"scaleout/store/file"
)

// userName is the name in the certificate of the person who uses the cluster.
const userName = "dev"

// prepare makes certificates and settings files, or completes what an earlier run left.
func (c *Cluster) prepare(now time.Time) error {
	if c.Bootstrap == 0 {
		c.Bootstrap = c.Masters
	}
	if err := c.save(); err != nil {
		return err
	}
	authority, err := pki.OpenAuthority(c.ca())
	if errors.Is(err, pki.ErrNoAuthority) {
		authority, err = pki.Init(c.ca(), now)
	}
	if err != nil {
		return err
	}
	issue := func(folder string, r pki.Request) error {
		leaf, err := pki.ReadCertificate(filepath.Join(folder, pki.FileCert))
		if err == nil && leaf.NotAfter.Sub(now) > pki.ExpiryWarning {
			return nil
		}
		issued, err := authority.Issue(r, now)
		if err != nil {
			return err
		}
		return issued.WriteFiles(folder)
	}
	user := pki.Request{Role: pki.RoleUser, Name: userName, Roles: []string{pki.UserAdmin}}
	if err := issue(c.userFolder(), user); err != nil {
		return err
	}
	for i := range c.Masters {
		name := c.masterName(i)
		request := pki.Request{Role: pki.RoleMaster, Name: name, Hosts: []string{"127.0.0.1", "localhost"}}
		if err := issue(c.home(name), request); err != nil {
			return err
		}
		if err := mergeSettings(c.settings(name), c.masterSettings(i), masterDefaults); err != nil {
			return err
		}
	}
	for i := range c.Workers {
		name := c.workerName(i)
		if err := issue(c.home(name), pki.Request{Role: pki.RoleWorker, Name: name}); err != nil {
			return err
		}
		defaults := maps.Clone(workerDefaults)
		defaults["AgentId"] = strings.ToUpper(uuid.NewString())
		maps.Copy(defaults, c.WorkerSettings)
		if err := mergeSettings(c.settings(name), c.workerSettings(i), defaults); err != nil {
			return err
		}
	}
	return nil
}

// What dev sets where the file does not: short intervals, since people wait. A worker's lease must leave room for two
// heartbeats, an election and the guard's five seconds.
var (
	masterDefaults = map[string]any{
		"TimingProfile": "lan", "MasterHeartbeatIntervalInMs": 5000, "DealWithExpiredTasksIntervalInMs": 10000,
	}
	workerDefaults = map[string]any{
		"LeaseInterval": "00:00:20", "TaskHeartbeatInterval": "00:00:01", "AgentHeartbeatInterval": "00:00:05",
	}
)

func (l Layout) masterSettings(i int) map[string]any {
	name := l.masterName(i)
	in := func(base string) string { return filepath.Join(l.home(name), base) }
	m := map[string]any{
		"NodeName": name, "PortNumber": l.httpsPort(i), "GossipPort": l.gossipPort(i),
		"BindAddress": "127.0.0.1", "AdvertiseAddress": "127.0.0.1",
		"DataDirectory": in("data"), "LogFolder": l.Logs(),
		"CACertFile": in(pki.FileCA), "CertFile": in(pki.FileCert), "KeyFile": in(pki.FileKey),
		"GossipKeyFile": in(pki.FileGossipKey), "KeyRingFile": in(pki.FileKeyRing),
	}
	join := []string{} // none is an empty list in JSON, too
	for j := range l.Masters {
		if j != i {
			join = append(join, fmt.Sprintf("127.0.0.1:%d", l.gossipPort(j)))
		}
	}
	m["RetryJoin"] = join
	m["BootstrapExpect"] = l.Bootstrap
	if i >= l.Bootstrap {
		m["BootstrapExpect"] = 0
	}
	return m
}

func (l Layout) workerSettings(i int) map[string]any {
	name := l.workerName(i)
	in := func(base string) string { return filepath.Join(l.home(name), base) }
	return map[string]any{
		"DisplayName": name, "MasterEndpoint": strings.Join(l.addresses(), ","),
		"DataDirectory": in("data"), "TasksRootFolder": in("tasks"), "LogFolder": l.Logs(),
		"CACertFile": in(pki.FileCA), "CertFile": in(pki.FileCert), "KeyFile": in(pki.FileKey),
	}
}

// mergeSettings writes a settings file: what is there stays, unless it is in own.
func mergeSettings(path string, own, defaults map[string]any) error {
	all := maps.Clone(defaults)
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(raw, &all); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	maps.Copy(all, own)
	if raw, err = json.MarshalIndent(all, "", "  "); err != nil {
		return err
	}
	file.RemoveLeftovers(filepath.Dir(path), 0, filepath.Base(path))
	return file.Write(path, 0o644, append(raw, '\n'))
}
