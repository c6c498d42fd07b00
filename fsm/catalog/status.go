package catalog

import "strconv"

// Status is an execution's or operation's status in SSISDB's numbers (catalog.operations).
type Status int

// The statuses of catalog.operations and catalog.executions.
const (
	Created           Status = 1
	Running           Status = 2
	Canceled          Status = 3
	Failed            Status = 4
	Pending           Status = 5
	EndedUnexpectedly Status = 6
	Succeeded         Status = 7
	Stopping          Status = 8
	Completed         Status = 9
)

var statusWords = [...]string{
	Created: "created", Running: "running", Canceled: "canceled", Failed: "failed", Pending: "pending",
	EndedUnexpectedly: "ended unexpectedly", Succeeded: "succeeded", Stopping: "stopping", Completed: "completed",
}

// String is the product's word for the status.
func (s Status) String() string {
	if s < Created || int(s) >= len(statusWords) {
		return "status " + strconv.Itoa(int(s))
	}
	return statusWords[s]
}
