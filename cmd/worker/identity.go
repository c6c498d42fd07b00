package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"scaleout/store/file"
)

const agentFile = "agent.json"

// AgentID returns the id that a worker's data directory holds, and "" if it holds none yet.
func AgentID(dataDirectory string) (string, error) {
	path := filepath.Join(dataDirectory, agentFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("worker: %w", err)
	}
	var doc agentDocument
	if err := json.Unmarshal(data, &doc); err != nil {
		return "", fmt.Errorf("worker: %s: %w", path, err)
	}
	id, err := uuid.Parse(doc.AgentID)
	if err != nil {
		return "", fmt.Errorf("worker: %s: agent_id %q is not a GUID", path, doc.AgentID)
	}
	return strings.ToUpper(id.String()), nil
}

type agentDocument struct {
	AgentID string `json:"agent_id"`
}

// agentID returns the configured id, or else the one in the data directory, which the first start writes.
func agentID(cfg Config) (string, error) {
	if cfg.AgentID != "" {
		return cfg.AgentID, nil
	}
	id, err := AgentID(cfg.DataDirectory)
	if id != "" || err != nil {
		return id, err
	}
	doc := agentDocument{strings.ToUpper(uuid.NewString())}
	return doc.AgentID, writeJSON(filepath.Join(cfg.DataDirectory, agentFile), doc)
}

// userAccount returns the account that packages run under.
func userAccount() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	for _, name := range []string{"USER", "USERNAME", "LOGNAME"} {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

func hostname() string {
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return "unknown"
}

// writeJSON replaces a file as a whole, durably.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := file.Write(path, 0o600, append(data, '\n')); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	return nil
}
