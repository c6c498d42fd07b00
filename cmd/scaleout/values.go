package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const (
	// maxValue is the most that a text from a file or from standard input may have; the masters take less.
	maxValue = 1 << 20
	// maxBinary is what a procedure takes as base64.
	maxBinary = 8 << 20
)

// origin says where a value on the command line comes from.
type origin int

const (
	plain  origin = iota // the command line
	stored               // a file or standard input
	asked                // a person has to be asked
)

// values reads values from elsewhere than the command line, which other users of the machine can see and shells keep:
// NAME=@FILE, NAME=- for standard input, NAME alone for a question without echo. A value that begins with @ is written
// with @@.
type values struct {
	in          io.Reader
	interactive bool
	ask         func(ctx context.Context, what string) (string, error)

	used bool // standard input was read
}

func valuesOf(cmd *cobra.Command) *values {
	in := cmd.InOrStdin()
	return &values{in: in, interactive: interactive(in), ask: func(ctx context.Context, what string) (string, error) {
		return askSecret(ctx, in, cmd.ErrOrStderr(), what)
	}}
}

// split takes NAME, NAME=VALUE, NAME=@FILE or NAME=- apart; what is the flag or the argument, for errors. Texts lose
// one line end, which editors add; binary ones are given as base64.
func (v *values) split(what, given string, binary bool) (name, text string, from origin, err error) {
	name, text, ok := strings.Cut(given, "=")
	switch {
	case name == "":
		return "", "", plain, usagef("%s %q: want NAME=VALUE", what, given)
	case !ok:
		return name, "", asked, nil
	case strings.HasPrefix(text, "@@"):
		return name, text[1:], plain, nil
	case text != "-" && !strings.HasPrefix(text, "@"):
		return name, text, plain, nil
	}
	text, err = v.load(strings.TrimPrefix(text, "@"), binary)
	if err != nil {
		err = fmt.Errorf("%s %s: %w", what, name, err)
	}
	return name, text, stored, err
}

// load reads a file, or standard input when its name is -.
func (v *values) load(file string, binary bool) (string, error) {
	most := maxValue
	if binary {
		most = maxBinary
	}
	in, name := v.in, "standard input"
	switch {
	case file == "":
		return "", usagef("@ wants the name of a file; write @@ for a value that begins with @")
	case file != "-":
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in, name = f, file
	case v.used:
		return "", usagef("standard input was read for another value already")
	default:
		v.used = true
	}
	raw, err := io.ReadAll(io.LimitReader(in, int64(most)+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read %s: %w", name, err)
	case len(raw) > most:
		return "", fmt.Errorf("%s is larger than %d bytes", name, most)
	case binary:
		return base64.StdEncoding.EncodeToString(raw), nil
	case !utf8.Valid(raw):
		return "", fmt.Errorf("%s is not a text in UTF-8", name)
	}
	text := strings.TrimSuffix(string(raw), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}

// maxSecret is the most that a password, a passphrase or a key may have.
const maxSecret = 1 << 16

// readSecret reads a secret from a file, or from standard input when its name is -, without the line ends and the mark
// that editors add.
func readSecret(in io.Reader, file string) (string, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxSecret+1))
	if err == nil && len(raw) > maxSecret {
		err = fmt.Errorf("%s is larger than %d bytes", file, maxSecret)
	}
	return strings.TrimRight(strings.TrimPrefix(string(raw), "\ufeff"), "\r\n"), err
}

// readPassword reads the password that a file holds; "" when no file is named.
func readPassword(in io.Reader, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	secret, err := readSecret(in, file)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	if secret == "" {
		return "", fmt.Errorf("the password file %s is empty", file)
	}
	return secret, nil
}

// question asks a person for a value. given is what stands on the command line, without a value.
func (v *values) question(ctx context.Context, what, given string) (string, error) {
	if !v.interactive {
		return "", fmt.Errorf("%[2]s: the %[1]s has no value, and without a terminal nobody can be asked: use %[2]s=VALUE, "+
			"%[2]s=@FILE or %[2]s=- for standard input", what, given)
	}
	return v.ask(ctx, what)
}

// askSecret reads a line from a terminal that does not show it.
func askSecret(ctx context.Context, in io.Reader, out io.Writer, what string) (string, error) {
	f, ok := in.(*os.File)
	if !ok {
		return "", errors.New("standard input is no terminal")
	}
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(out, "%s: ", what)
	type answer struct {
		text []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		done <- answer{text, err}
	}()
	select {
	case a := <-done:
		fmt.Fprintln(out)
		return string(a.text), a.err
	case <-ctx.Done():
		// The process ends; its terminal must show again what is typed.
		return "", errors.Join(context.Cause(ctx), term.Restore(fd, before))
	}
}
