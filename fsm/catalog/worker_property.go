package catalog

import (
	"strconv"
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// Names of the properties of a worker that can be set, in the product's spelling.
const (
	PropertyDisplayName = "DisplayName"
	PropertyDescription = "Description"
	PropertyTags        = "Tags"
	// propertyMaxTaskCount is ours: the product has no such property.
	PropertyMaxTaskCount = "MaxTaskCount"
)

func UnknownProperty(name string) *command.Rejection {
	return command.Refuse(command.CodeInvalidArgument, "PropertyName: %s cannot be set; a worker has %s, %s, %s and %s",
		sqltype.Quote(name), PropertyDisplayName, PropertyDescription, PropertyTags, PropertyMaxTaskCount)
}

// taskCount reads a value of MaxTaskCount.
func TaskCount(value string) (int, *command.Rejection) {
	const most = 1_000_000
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil || n < 0 || n > most {
		return 0, command.Refuse(command.CodeInvalidArgument, "PropertyValue: %s is no MaxTaskCount: use 1 to %d, which lowers what the worker asks for, or 0 to take it away",
			sqltype.Quote(value), most)
	}
	return n, nil
}

// maxTags keeps a worker's row, which every heartbeat rewrites, small.
const MaxTags = 64 << 10
