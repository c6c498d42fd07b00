package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/httpapi/client"
)

// unknownVerb is a usage error about a verb that cmd does not have.
func unknownVerb(cmd *cobra.Command, verb string) error {
	cmd.SuggestionsMinimumDistance = 2
	hint := ""
	if near := cmd.SuggestionsFor(verb); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	if cmd.HasParent() {
		return usagef("unknown verb %q of %s%s", verb, cmd.CommandPath(), hint)
	}
	return usagef("unknown command %q%s", verb, hint)
}

// wrongArguments is a usage error about the number of arguments, with how the verb is written.
func wrongArguments(cmd *cobra.Command, args []string) error {
	wanted := strings.TrimSuffix(cmd.CommandPath(), cmd.Name()) + cmd.Use
	switch len(args) {
	case 0:
		return usagef("an argument is missing: '%s'", wanted)
	case 1:
		return usagef("with the argument %q alone: want '%s'", args[0], wanted)
	}
	return usagef("with %d arguments, the last of them %q: want '%s'", len(args), args[len(args)-1], wanted)
}

// wantedValues say what the flags of a type take.
var wantedValues = map[string]string{
	"bool": "want true or false", "duration": "want a time such as 90s, 30m or 4h",
	"int": "want a whole number", "int64": "want a whole number", "uint64": "want a whole number from 0 on",
}

// flagError makes a usage error of a mistake in the flags, with the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		if wanted, ok := wantedValues[invalid.GetFlag().Value.Type()]; ok {
			// Go's own words are for programmers
			return usagef("--%s %q: %s", invalid.GetFlag().Name, invalid.GetValue(), wanted)
		}
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return &usageError{err}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return usagef("%w%s", err, registry.Meant("--"+unknown.GetSpecifiedName(), names))
}

// withHint adds to a master's refusal of a folder or a project the name that was probably meant.
func withHint(ctx context.Context, c *client.Client, err error, folder, project string) error {
	var e *client.Error
	if !errors.As(err, &e) {
		return err
	}
	hint := ""
	switch e.Code {
	case command.CodeFolderNotFound:
		hint = nameHint(ctx, c, folder, "folders", nil)
	case command.CodeProjectNotFound:
		if at, err := folderID(ctx, c, folder); err == nil {
			hint = nameHint(ctx, c, project, "projects", map[string]any{"folder_id": at})
		}
	}
	if hint == "" {
		return err
	}
	better := *e
	better.Detail, better.Problem.Message = hinted(said(e), hint), ""
	return &better
}

// refused is a refusal that this program has found before the masters would, in the sentence that they would give. A
// hint, which may be "", stands instead of the sentence's own.
func refused(no *command.Rejection, hint string) error {
	return errors.New(hinted(registry.Detail(registry.CLI, no), hint))
}

// hinted ends a sentence with a hint instead of its own, which follows the last semicolon that is not part of a quoted
// name.
func hinted(sentence, hint string) string {
	if hint == "" {
		return sentence
	}
	if at := strings.LastIndex(sentence, "; "); at >= 0 && !strings.Contains(sentence[at:], `"`) {
		sentence = sentence[:at]
	}
	return sentence + hint
}
