package wire

import "time"

// Debug is what one master tells about itself for a bundle. It holds no secrets: names of files, not what is in them.
type Debug struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Version    string            `json:"version"`
	Go         string            `json:"go"`
	OS         string            `json:"os_arch"`
	Level      int               `json:"feature_level"` // the highest that it knows
	State      string            `json:"state"`
	Started    time.Time         `json:"started"`
	Settings   map[string]string `json:"settings"`
	Log        []string          `json:"log"` // the newest lines
	Goroutines string            `json:"goroutines"`
}
