// Package service is a master or worker as a service of this machine: how it is installed and controlled (a systemd
// unit, a Windows service), where its folders and its log are, and what it tells the service manager while it runs.
//
// What it promises:
//
//   - Nothing is installed that could not start: the service's own account reads the settings first ([Service.Check]).
//   - The units in deploy/systemd are what [Service.Unit] writes; a test compares them.
//   - A service that no longer works is silent to the watchdog, so that systemd starts it again ([Announce]).
//
// What it leaves to others: what the service does (cmd/master, cmd/worker), its settings (package settings), and what
// is shown to a person (cmd/scaleout).
package service
