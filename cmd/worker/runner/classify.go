package runner

import "strings"

// The message types of lines of output.
const (
	TypeInformation = 70
	TypeWarning     = 110
	TypeError       = 120
)

// Classifier tells the message type of each line of one package's output, in order. The zero value is ready.
type Classifier struct{ block int }

// Type is the message type of a line. What stands on standard error is an error; dtexec writes everything to standard
// output, its errors and warnings as blocks with a first and a last line of their own.
func (c *Classifier) Type(pkg string, stderr bool, line string) int {
	if stderr {
		return TypeError
	}
	if Extension(pkg) != Dtsx {
		return TypeInformation
	}
	kind := max(c.block, TypeInformation)
	switch {
	case strings.HasPrefix(line, "Error:"):
		c.block, kind = TypeError, TypeError
	case strings.HasPrefix(line, "Warning:"):
		c.block, kind = TypeWarning, TypeWarning
	case strings.HasPrefix(line, "End Error"), strings.HasPrefix(line, "End Warning"),
		strings.HasPrefix(line, "Progress:"), strings.HasPrefix(line, "Info:"):
		if !strings.HasPrefix(line, "End ") {
			kind = TypeInformation
		}
		c.block = 0
	}
	return kind
}
