package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"scaleout/cluster/pki"
	"scaleout/cmd/dev"
	"scaleout/fsm/catalog"
	"scaleout/httpapi/client"
)

// completeFlags gives every flag, and every verb that has none yet, what completion offers. It goes through the tree,
// so a flag of a known name is completed in every verb; one of a name that is not known here fails a test.
func (a *app) completeFlags(root *cobra.Command) {
	byName, byVerb := a.flagValues(), argumentValues()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		each := func(f *pflag.Flag) {
			if f.Value.Type() == "bool" {
				return
			}
			offer := byName[strings.TrimPrefix(cmd.CommandPath(), "scaleout ")+" --"+f.Name]
			if offer == nil {
				offer = byName["--"+f.Name]
			}
			if offer == nil {
				offer = offerByKind(f)
			}
			if offer != nil {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, offer)
			}
		}
		if cmd.ValidArgsFunction == nil && !cmd.HasSubCommands() {
			if cmd.ValidArgsFunction = byVerb[strings.TrimPrefix(cmd.CommandPath(), "scaleout ")]; cmd.ValidArgsFunction == nil {
				cmd.ValidArgsFunction = nothing
			}
		}
		cmd.LocalNonPersistentFlags().VisitAll(each)
		cmd.PersistentFlags().VisitAll(each)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// nothing offers no words: the value is free.
func nothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, noFiles
}

func anyFile(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func fixed(values ...string) cobra.CompletionFunc { return cobra.FixedCompletions(values, noFiles) }

// flagValues are completions by "--flag", or by "verb --flag" where one verb's flag means something else.
func (a *app) flagValues() map[string]cobra.CompletionFunc {
	var statuses []string
	for _, s := range statusNames() {
		statuses = append(statuses, strings.ReplaceAll(s, " ", "_"))
	}
	var options []string
	for _, o := range catalog.Options() {
		options = append(options, o.Name+"=")
	}
	return map[string]cobra.CompletionFunc{
		"--output": fixed(outputs...), "--status": list(statuses...), "--type": list(eventTypeNames()...),
		"--folder": a.completeFlag(folderNames), "--project": a.completePathFlag(), "--caller": a.completeFlag(callerNames),
		"execution run --worker": a.completeFlag(workerNames), "execution create --worker": a.completeFlag(workerNames),
		"--param": a.completeParameter(catalog.ObjectPackage), "--project-param": a.completeParameter(catalog.ObjectProject),
		"--option":       cobra.FixedCompletions(options, noFiles|cobra.ShellCompDirectiveNoSpace),
		"ready --worker": folders,
		"--since":        fixed("1h", "24h", "7d", "30d"), "--kind": fixed("master", "worker"),
		"--role":           fixed(pki.UserRoles()...),
		"--columns":        a.completeColumns,
		"--order":          a.completeColumns,
		"--timing-profile": fixed("lan", "fast", "wan"),
	}
}

// argumentValues are completions of arguments by verb, of those that ask no master.
func argumentValues() map[string]cobra.CompletionFunc {
	kinds := first(fixed("master", "worker"))
	return map[string]cobra.CompletionFunc{
		"ca init": first(folders), "ca issue": first(fixed("master", "worker", "user")), "ca renew": folders,
		"ca retire": folders, "ca list": folders,
		"config check": files("config"), "dev restart": first(devNames), "dev pid": first(devNames),
		"cluster debug":       first(anyFile),
		"cluster backup save": first(anyFile), "cluster backup inspect": first(anyFile),
		"cluster backup verify":  first(anyFile),
		"cluster backup restore": first(anyFile),
		"service install":        kinds, "service uninstall": kinds, "service start": kinds, "service stop": kinds,
		"service status": kinds,
	}
}

// first is a completion of the first argument alone.
func first(offer cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		return offer(cmd, args, begun)
	}
}

// devNames offers the masters and workers of the dev whose folder --data names.
func devNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	l, err := dev.Saved(cmd.Flag("data").Value.String())
	if err != nil || l == nil {
		return nil, noFiles
	}
	return l.Names(), noFiles
}

// list completes a flag that takes several values, comma-separated: it appends each value that is not given yet.
func list(values ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		done := ""
		if i := strings.LastIndexByte(begun, ','); i >= 0 {
			done = begun[:i+1]
		}
		var out []string
		for _, v := range values {
			if !strings.Contains(","+done, ","+v+",") {
				out = append(out, done+v)
			}
		}
		return out, noFiles
	}
}

// completePathFlag offers the projects of all folders, or of the one that --folder names.
func (a *app) completePathFlag() cobra.CompletionFunc {
	whole := a.completePath(2)
	return func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		if f := cmd.Flags().Lookup("folder"); f != nil && f.Value.String() != "" {
			return a.ask(cmd, columnOf("projects", "name", "description", client.Query{})), noFiles
		}
		return whole(cmd, nil, begun)
	}
}

// completeColumns offers the columns of the view that is the first argument.
func (a *app) completeColumns(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, noFiles
	}
	return a.ask(cmd, viewColumns(args[0], "")), noFiles
}

// offerByKind chooses by the flag's type and name: files, folders, or nothing for a free value.
func offerByKind(f *pflag.Flag) cobra.CompletionFunc {
	switch f.Value.Type() {
	case "int", "int32", "int64", "uint64", "float64", "number", "duration", "milliseconds", "bytes", "hh:mm:ss", "json":
		return nothing
	}
	for _, end := range []string{"file", "cacert", "cert", "key", "config"} {
		if strings.HasSuffix(f.Name, end) {
			return anyFile
		}
	}
	for _, end := range []string{"folder", "directory", "data", "ca", "out", "copy"} {
		if strings.HasSuffix(f.Name, end) {
			return folders
		}
	}
	return nil
}
