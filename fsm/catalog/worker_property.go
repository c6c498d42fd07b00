package catalog

import (
	"strconv"
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// Names of the properties of a worker that can be set, in the product's spelling; MaxTaskCount is ours.
const (
	propertyDisplayName  = "DisplayName"
	propertyDescription  = "Description"
	propertyTags         = "Tags"
	propertyMaxTaskCount = "MaxTaskCount"
)

const (
	mostTasks = 1_000_000
	// mostTags keeps a worker's row, which every heartbeat rewrites, small.
	mostTags = 64 << 10
	// mostProperty is how many characters DisplayName and Description hold.
	mostProperty = 256
)

// setProperty changes a copy of a worker's row.
func (w *Worker) setProperty(name, value string) *command.Rejection {
	property := ""
	for _, known := range []string{propertyDisplayName, propertyDescription, propertyTags, propertyMaxTaskCount} {
		if sqltype.EqualText(known, name) {
			property = known
		}
	}
	switch n := sqltype.Characters(value); {
	case property == "":
		return command.Refuse(command.CodePropertyName, name,
			[]string{propertyDisplayName, propertyDescription, propertyTags, propertyMaxTaskCount})
	case (property == propertyDisplayName || property == propertyDescription) && n > mostProperty:
		return command.Refuse(command.CodePropertyLong, property, mostProperty, n)
	case len(value) > mostTags:
		return command.Refuse(command.CodePropertyBytes, property, mostTags, len(value))
	}
	switch property {
	case propertyDisplayName:
		if no := checkShown(command.CodeNameHidden, value, "PropertyValue"); no != nil {
			return no
		}
		w.DisplayName, w.NameSet = value, true
	case propertyDescription:
		w.Description, w.DescriptionSet = value, true
	case propertyTags:
		w.Tags = value
	case propertyMaxTaskCount:
		n, err := strconv.Atoi(strings.TrimFunc(value, sqltype.Blank))
		if err != nil || n < 0 || n > mostTasks {
			return command.Refuse(command.CodeTaskCount, value, mostTasks)
		}
		w.TaskCountSet = n
		w.limitTasks()
	}
	return nil
}
