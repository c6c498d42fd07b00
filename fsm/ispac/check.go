package ispac

import "fmt"

// check applies the rules that a project must keep to, read or written.
func (p *Project) check() error {
	if err := checkProjectName(p.Name); err != nil {
		return badPart(manifestPart, err.Error())
	}
	if err := checkParameters(p.Parameters, paramsPart, "the project", "PROJECT_PARAM_"); err != nil {
		return err
	}
	seen := map[string]bool{}
	checkName := func(name, kind string) error {
		switch {
		case reservedPart(name):
			return badPart(manifestPart, fmt.Sprintf("%s cannot be a %s: the format has its own use for the name",
				clip(name), kind))
		case seen[fold(name)]:
			return badPart(manifestPart, fmt.Sprintf("there are two parts named %s", clip(name)))
		}
		seen[fold(name)] = true
		if err := checkPartName(name); err != nil {
			return badPart(name, err.Error())
		}
		return nil
	}
	for i := range p.Packages {
		pkg := &p.Packages[i]
		if err := checkName(pkg.Name, "package"); err != nil {
			return err
		}
		if hasExt(pkg.Name, connectionExt) {
			return badPart(pkg.Name, "a connection manager cannot be a package")
		}
		if err := checkParameters(pkg.Parameters, manifestPart, "package "+clip(pkg.Name), "PARAM_"); err != nil {
			return err
		}
	}
	for _, name := range p.ConnectionManagers {
		if err := checkName(name, "connection manager"); err != nil {
			return err
		}
		if !hasExt(name, connectionExt) {
			return badPart(name, "a connection manager's name ends in "+connectionExt)
		}
	}
	for _, name := range p.Files {
		if err := checkName(name, "file"); err != nil {
			return err
		}
		if hasExt(name, packageExt) || hasExt(name, connectionExt) {
			return badPart(name, "the manifest does not list it")
		}
	}
	return nil
}

// checkParameters checks one scope: names of declared parameters, and that each
// of them has an environment variable of its own.
func checkParameters(params []Parameter, part, where, prefix string) error {
	owner := make(map[string]string, len(params))
	for _, generated := range []bool{false, true} {
		for _, p := range params {
			if p.Generated() != generated {
				continue
			}
			env := EnvName(p.Name)
			if first, taken := owner[env]; taken {
				return badPart(part,
					fmt.Sprintf("%s: the parameters %s and %s would both be the environment variable %s; rename one",
						where, clip(first), clip(p.Name), prefix+env))
			}
			if generated {
				continue // generated ones may share a variable among themselves
			}
			if err := checkParameterName(p.Name); err != nil {
				return badPart(part, fmt.Sprintf("%s: %v", where, err))
			}
			owner[env] = p.Name
		}
	}
	return nil
}
