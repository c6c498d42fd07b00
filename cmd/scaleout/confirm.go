package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// interactive reports whether a person sits in front of standard input.
func interactive(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// confirm names an objection and asks whether to go on in spite of it. Without a terminal it refuses.
func confirm(cmd *cobra.Command, but, what string) error {
	if !interactive(cmd.InOrStdin()) {
		return fmt.Errorf("%s; --yes: %s", but, what)
	}
	return ask(cmd.InOrStdin(), cmd.ErrOrStderr(), but, what)
}

// ask is confirm with the answer read from in.
func ask(in io.Reader, out io.Writer, but, what string) error {
	fmt.Fprintf(out, "%s.\n%s? [y/N] ", but, strings.ToUpper(what[:1])+what[1:])
	line, err := bufio.NewReader(io.LimitReader(in, 1024)).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return fmt.Errorf("nothing was done")
}
