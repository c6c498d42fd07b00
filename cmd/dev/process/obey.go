package process

import (
	"bufio"
	"context"
	"io"
	"os"
)

// variable marks a child: its standard input carries its parent's words, and its standard error is for what comes
// before and after its log.
const variable = "SCALEOUT_CHILD"

// What the parent writes.
const (
	wordStop  = "stop"  // as a first SIGTERM
	wordHurry = "hurry" // as a second
)

// isChild is read once, and the variable goes: what this process starts shall not take itself for a child.
var isChild = func() bool {
	_, set := os.LookupEnv(variable)
	_ = os.Unsetenv(variable)
	return set
}()

// IsChild reports whether [Start] started this process.
func IsChild() bool { return isChild }

// Obey returns a context that ends when the parent says on in that this process shall end, or is gone. hurry is called,
// once, when the parent says that what runs shall end, too, or is gone.
func Obey(ctx context.Context, in io.Reader, hurry func()) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			switch lines.Text() {
			case wordStop:
				cancel()
			case wordHurry:
				cancel()
				hurry()
				return
			}
		}
		cancel()
		hurry()
	}()
	return ctx
}
