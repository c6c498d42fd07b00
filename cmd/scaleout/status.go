package main

import (
	"strconv"
	"strings"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/catalog"
	"scaleout/fsm/registry"
	"scaleout/httpapi/client"
)

// rowStatus is the status of a row of executions or operations.
func rowStatus(r client.Row) catalog.Status {
	n, _ := r.Int("status")
	return catalog.Status(n)
}

// statusNames are the names of all statuses, by number.
func statusNames() (names []string) {
	for s := catalog.Created; s <= catalog.Completed; s++ {
		names = append(names, s.String())
	}
	return names
}

// statusNumber takes a status's number or its name; "ended_unexpectedly" and "unexpected", too.
func statusNumber(text string) (catalog.Status, error) {
	if n, err := strconv.Atoi(text); err == nil && n >= int(catalog.Created) && n <= int(catalog.Completed) {
		return catalog.Status(n), nil
	}
	want := strings.ToLower(strings.NewReplacer("_", " ", "-", " ").Replace(text))
	if want == "unexpected" {
		return catalog.EndedUnexpectedly, nil
	}
	for s := catalog.Created; s <= catalog.Completed; s++ {
		if want == s.String() {
			return s, nil
		}
	}
	return 0, usagef("--status %q: there is no such status%s", text, registry.Hint(want, statusNames()))
}

// tone is the colour of a status, of an execution or an attempt.
func tone(status string) show.Tone {
	switch status {
	case catalog.Succeeded.String(), catalog.Completed.String():
		return show.Good
	case catalog.Failed.String(), catalog.EndedUnexpectedly.String(), "lost":
		return show.Bad
	case catalog.Canceled.String(), catalog.Stopping.String(), catalog.Pending.String():
		return show.Warn
	case catalog.Running.String():
		return show.Busy
	}
	return show.Plain
}
