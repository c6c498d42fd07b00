package wire

import "time"

// Debug is one master's diagnostic information for a support bundle. It contains no secrets: it names files and does
// not include them.
type Debug struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Version    string            `json:"version"`
	Go         string            `json:"go"`
	OS         string            `json:"os_arch"`
	Level      int               `json:"feature_level"` // the highest level that it knows
	State      string            `json:"state"`
	Started    time.Time         `json:"started"`
	Settings   map[string]string `json:"settings"`
	Log        []string          `json:"log"` // the latest lines
	Goroutines string            `json:"goroutines"`
}
