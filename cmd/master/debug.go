package master

import (
	"runtime"

	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

// debug is this master for a bundle.
func (m *Master) debug() wire.Debug {
	c := &m.cfg
	return wire.Debug{
		Name: c.Name, ID: m.ID(), Version: c.Version, Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Level: command.Level, State: string(m.node.State()), Started: m.started, Log: m.tail.Lines(),
		Settings: c.Settings(m.advertise, m.node.Timing()),
	}
}
