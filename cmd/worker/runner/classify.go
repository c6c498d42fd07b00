package runner

import "strings"

// The message types of output lines.
const (
	TypeInformation = 70
	TypeWarning     = 110
	TypeError       = 120
)

// Classifier finds the message type of each line of one package's output. It must see the lines in their order. The
// zero value is ready for use.
type Classifier struct{ block int }

// Type returns the message type of a line. A line on standard error is an error. dtexec writes everything to standard
// output; each of its errors and warnings is a block of lines between a first and a last line of its own.
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
