package dev

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"scaleout/store/file"
)

// masterEntry, workerEntry and document are the content of dev.json.
type masterEntry struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	PID     int    `json:"pid"`
}

type workerEntry struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	PID  int    `json:"pid"`
}

type document struct {
	Masters []masterEntry `json:"masters"`
	Workers []workerEntry `json:"workers"`
}

// publish writes dev.json, then env: who waits for env finds both.
func (c *Cluster) publish() error {
	doc := document{Masters: []masterEntry{}, Workers: []workerEntry{}}
	for i := range c.Masters {
		name := c.masterName(i)
		doc.Masters = append(doc.Masters, masterEntry{name, c.address(i), c.pid(name)})
	}
	for i := range c.Workers {
		name := c.workerName(i)
		id, err := c.agentID(name)
		if err != nil {
			return err
		}
		doc.Workers = append(doc.Workers, workerEntry{name, id, c.pid(name)})
	}
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	if err := file.Write(c.listFile(), 0o644, append(raw, '\n')); err != nil {
		return err
	}
	files := c.userFiles()
	var env strings.Builder
	for _, v := range [][2]string{
		{"ADDR", strings.Join(c.addresses(), ",")}, {"CACERT", files.CA}, {"CERT", files.Cert}, {"KEY", files.Key},
	} {
		fmt.Fprintf(&env, "export SCALEOUT_%s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
	}
	return file.Write(c.Env(), 0o644, []byte(env.String()))
}

// agentID is the id that a worker's settings give it.
func (l Layout) agentID(name string) (string, error) {
	raw, err := os.ReadFile(l.settings(name))
	if err != nil {
		return "", err
	}
	var doc struct{ AgentId string }
	if err := json.Unmarshal(raw, &doc); err != nil {
		return "", fmt.Errorf("%s: %w", l.settings(name), err)
	}
	return strings.ToUpper(strings.Trim(doc.AgentId, "{}")), nil
}
