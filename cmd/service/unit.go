package service

import (
	_ "embed"
	"strings"
)

//go:embed unit/scaleout-master.service
var masterUnit string

//go:embed unit/scaleout-worker.service
var workerUnit string

// Unit is the service as a systemd unit.
func (s *Service) Unit() string {
	text := masterUnit
	if s.Kind == Worker {
		text = workerUnit
	}
	return strings.NewReplacer(
		"@EXECUTABLE@", unitWord(s.Executable), "@CONFIG@", unitWord(s.Config), "@USER@", s.User,
	).Replace(text)
}

// unitWord writes one word of a unit's command line: % begins a specifier, $ a variable, and a blank ends a word.
func unitWord(s string) string {
	s = strings.NewReplacer("%", "%%", "$", "$$", `\`, `\\`, `"`, `\"`).Replace(s)
	if strings.ContainsAny(s, " \t'\"\\;") {
		return `"` + s + `"`
	}
	return s
}
