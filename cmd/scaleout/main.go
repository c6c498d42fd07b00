package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"scaleout/cluster"
	"scaleout/cmd/scaleout/show"
	"scaleout/cmd/service"
	"scaleout/cmd/worker/guard"
	"scaleout/httpapi/client"
)

// Set by the linker.
var (
	version = "dev"
	commit  = "unknown"
)

// Exit codes, stable so that a SQL Agent or cron step can branch on them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitFailed      = 3
	exitCanceled    = 4
	exitTimedOut    = 5
	exitUnreachable = 6
	// exitOperator says that another start of the service would fail in the same way. It is not 2, with which Go ends a
	// process that panics.
	exitOperator = cluster.ExitStateMachine
)

func main() {
	// The guard is the same binary. It starts for each package, so it does not build the tree of commands.
	if guard.IsGuard(os.Args[1:]) {
		os.Exit(guard.Main(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; the second one ends the process.
	context.AfterFunc(ctx, stop)
	code := service.Run(ctx, func(ctx context.Context) int { return run(ctx, newRoot()) })
	stop()
	os.Exit(code)
}

// run executes the command line and turns its error into an exit code.
func run(ctx context.Context, root *cobra.Command) int {
	cmd, err := root.ExecuteContextC(ctx)
	defer func() {
		_ = show.Of(root.OutOrStdout()).Flush()
		_ = show.Of(root.ErrOrStderr()).Flush()
	}()
	if err == nil {
		return exitOK
	}
	var e *statusError
	if errors.As(err, &e) {
		if e.err != nil {
			sayf(root.ErrOrStderr(), "scaleout: %v", e.err)
		}
		return e.code
	}
	var usage *usageError
	if errors.As(err, &usage) {
		sayf(root.ErrOrStderr(), "scaleout: %v", err)
		fmt.Fprintf(root.ErrOrStderr(), "See '%s --help'.\n", cmd.CommandPath())
		return exitUsage
	}
	sayf(root.ErrOrStderr(), "scaleout: %s", unprefixed(err))
	if errors.Is(err, client.ErrUntrusted) {
		fmt.Fprintln(root.ErrOrStderr(), "Is --cacert the ca.pem of this cluster? 'scaleout doctor' looks at each step on "+
			"the way to the masters.")
		return exitError
	}
	if errors.Is(err, client.ErrUnreachable) {
		fmt.Fprintln(root.ErrOrStderr(), "Do the masters run, and is --addr right? 'scaleout doctor' looks at each step on "+
			"the way to them.")
		return exitUnreachable
	}
	if errors.Is(err, client.ErrNoLeader) {
		return exitUnreachable
	}
	return exitError
}

// statusError ends the process with the given exit code. err is nil if everything has been printed.
type statusError struct {
	code int
	err  error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}
func (e *statusError) Unwrap() error { return e.err }

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }
