package main

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
	"scaleout/httpapi/client"
	"scaleout/store/file"
)

// devUser is the person in the certificate of a dev cluster's env file.
const devUser = "dev"

// prepare makes certificates and settings files, or completes what an earlier run left.
func (s *stage) prepare(now time.Time, workerSettings map[string]any) error {
	if s.Bootstrap == 0 {
		s.Bootstrap = s.Masters
	}
	if err := s.layout.save(); err != nil {
		return err
	}
	authority, err := pki.OpenAuthority(s.ca())
	if errors.Is(err, pki.ErrNoAuthority) {
		authority, err = pki.Init(s.ca(), now)
	}
	if err != nil {
		return err
	}
	issue := func(folder string, r pki.Request) error {
		if fresh(filepath.Join(folder, pki.FileCert), now) {
			return nil
		}
		issued, err := authority.Issue(r, now)
		if err != nil {
			return err
		}
		return issued.WriteFiles(folder)
	}
	if err := issue(s.user(), pki.Request{Role: pki.RoleUser, Name: devUser, Roles: []string{pki.UserAdmin}}); err != nil {
		return err
	}
	for i := range s.Masters {
		name := s.masterName(i)
		request := pki.Request{Role: pki.RoleMaster, Name: name, Hosts: []string{"127.0.0.1", "localhost"}}
		if err := issue(s.home(name), request); err != nil {
			return err
		}
		if err := mergeSettings(s.settings(name), s.masterSettings(i), masterDefaults); err != nil {
			return err
		}
	}
	for i := range s.Workers {
		name := s.workerName(i)
		if err := issue(s.home(name), pki.Request{Role: pki.RoleWorker, Name: name}); err != nil {
			return err
		}
		defaults := maps.Clone(workerDefaults)
		defaults["AgentId"] = strings.ToUpper(uuid.NewString())
		maps.Copy(defaults, workerSettings)
		if err := mergeSettings(s.settings(name), s.workerSettings(i), defaults); err != nil {
			return err
		}
	}
	return nil
}

// fresh tells whether a certificate is there and good for a while.
func fresh(file string, now time.Time) bool {
	leaf, err := readCertificate(file)
	return err == nil && leaf.NotAfter.Sub(now) > pki.ExpiryWarning
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

func (s *stage) masterSettings(i int) map[string]any {
	name := s.masterName(i)
	in := func(base string) string { return filepath.Join(s.home(name), base) }
	m := map[string]any{
		"NodeName": name, "PortNumber": s.httpsPort(i), "GossipPort": s.gossipPort(i),
		"BindAddress": "127.0.0.1", "AdvertiseAddress": "127.0.0.1",
		"DataDirectory": in("data"), "LogFolder": s.logs(),
		"CACertFile": in(pki.FileCA), "CertFile": in(pki.FileCert), "KeyFile": in(pki.FileKey),
		"GossipKeyFile": in(pki.FileGossipKey), "KeyRingFile": in(pki.FileKeyRing),
	}
	var join []string
	for j := range s.Masters {
		if j != i {
			join = append(join, fmt.Sprintf("127.0.0.1:%d", s.gossipPort(j)))
		}
	}
	m["RetryJoin"] = join
	if join == nil {
		m["RetryJoin"] = []string{}
	}
	m["BootstrapExpect"] = s.Bootstrap
	if i >= s.Bootstrap {
		m["BootstrapExpect"] = 0
	}
	return m
}

func (s *stage) workerSettings(i int) map[string]any {
	name := s.workerName(i)
	in := func(base string) string { return filepath.Join(s.home(name), base) }
	return map[string]any{
		"DisplayName": name, "MasterEndpoint": strings.Join(s.addresses(), ","),
		"DataDirectory": in("data"), "TasksRootFolder": in("tasks"), "LogFolder": s.logs(),
		"CACertFile": in(pki.FileCA), "CertFile": in(pki.FileCert), "KeyFile": in(pki.FileKey),
	}
}

// mergeSettings writes a settings file: what is there stays, unless it is dev's own to say.
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

// connect makes a client of all masters as the dev user.
func (s *stage) connect(a *app) (*client.Client, error) {
	creds, err := pki.OpenCredentials(pki.CredentialsConfig{Files: s.userFiles(), Logger: a.logger()})
	if err != nil {
		return nil, err
	}
	own := *a
	own.notices, own.connectTimeout = nil, max(a.connectTimeout, devConnectTimeout)
	return own.clientWith(creds, s.addresses())
}

func (s *stage) userFiles() pki.Files {
	return pki.Files{
		CA: filepath.Join(s.user(), pki.FileCA), Cert: filepath.Join(s.user(), pki.FileCert), Key: filepath.Join(s.user(), pki.FileKey),
	}
}

type devMaster struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	PID     int    `json:"pid"`
}

type devWorker struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	PID  int    `json:"pid"`
}

type devDocument struct {
	Masters []devMaster `json:"masters"`
	Workers []devWorker `json:"workers"`
}

// publish writes dev.json, then env: who waits for env finds both.
func (s *stage) publish() error {
	doc := devDocument{Masters: []devMaster{}, Workers: []devWorker{}}
	for i := range s.Masters {
		name := s.masterName(i)
		doc.Masters = append(doc.Masters, devMaster{name, s.address(i), s.pid(name)})
	}
	for i := range s.Workers {
		name := s.workerName(i)
		id, err := s.agentID(name)
		if err != nil {
			return err
		}
		doc.Workers = append(doc.Workers, devWorker{name, id, s.pid(name)})
	}
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	if err := file.Write(s.json(), 0o644, append(raw, '\n')); err != nil {
		return err
	}
	files := s.userFiles()
	var env strings.Builder
	for _, v := range [][2]string{
		{"ADDR", strings.Join(s.addresses(), ",")}, {"CACERT", files.CA}, {"CERT", files.Cert}, {"KEY", files.Key},
	} {
		fmt.Fprintf(&env, "export SCALEOUT_%s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
	}
	return file.Write(s.env(), 0o644, []byte(env.String()))
}

// agentID is the id that the worker's settings give it.
func (s *stage) agentID(name string) (string, error) {
	raw, err := os.ReadFile(s.settings(name))
	if err != nil {
		return "", err
	}
	var doc struct{ AgentId string }
	if err := json.Unmarshal(raw, &doc); err != nil {
		return "", fmt.Errorf("%s: %w", s.settings(name), err)
	}
	return strings.ToUpper(strings.Trim(doc.AgentId, "{}")), nil
}
