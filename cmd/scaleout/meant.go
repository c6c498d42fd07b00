package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"scaleout/fsm/catalog"
	"scaleout/httpapi/client"
)

// meant ends a sentence that says that there is no such name with the one that was probably meant; "" when none is near.
func meant(name string, names []string) string {
	if hint := catalog.Hint(name, names); strings.HasPrefix(hint, "; did you mean") {
		return hint
	}
	return ""
}

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

// flagError makes a usage error of a mistake in the flags, with the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
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
	return usagef("%w%s", err, meant("--"+unknown.GetSpecifiedName(), names))
}

// withHint adds to a master's refusal of a folder or a project the name that was probably meant.
func withHint(ctx context.Context, c *client.Client, err error, folder, project string) error {
	var e *client.Error
	if !errors.As(err, &e) {
		return err
	}
	hint := ""
	switch e.Code {
	case catalog.CodeFolderNotFound:
		hint = nameHint(ctx, c, folder, "folders", nil)
	case catalog.CodeProjectNotFound:
		if page, err := c.View(ctx, "folders", client.Query{Equal: map[string]any{"name": folder}}); err == nil && len(page.Rows) == 1 {
			hint = nameHint(ctx, c, project, "projects", map[string]any{"folder_id": page.Rows[0]["folder_id"]})
		}
	}
	if hint == "" {
		return err
	}
	better := *e
	detail, _, _ := strings.Cut(e.Detail, "; the view")
	better.Detail = detail + hint
	return &better
}
