package procedure

import (
	"fmt"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/ispac"
	"scaleout/fsm/sqltype"
)

// deploySealer seals the sensitive design defaults of one project file.
type deploySealer struct {
	call *Call
	blob string
}

// manifestOf keeps of a project file what the catalog needs.
func manifestOf(p *ispac.Project, seal deploySealer) (command.Manifest, error) {
	m := command.Manifest{
		ID: p.ID, Description: p.Description, FormatVersion: p.FormatVersion, ProtectionLevel: int(p.ProtectionLevel),
		VersionMajor: p.VersionMajor, VersionMinor: p.VersionMinor, VersionBuild: p.VersionBuild,
		VersionComments: p.VersionComments,
	}
	var err error
	if m.Parameters, err = seal.parameters("", p.Parameters); err != nil {
		return command.Manifest{}, err
	}
	for i := range p.Packages {
		pkg := &p.Packages[i]
		kept := command.Package{
			Name: pkg.Name, GUID: pkg.ID, VersionGUID: pkg.VersionGUID, Description: pkg.Description,
			FormatVersion: pkg.FormatVersion, VersionMajor: pkg.VersionMajor, VersionMinor: pkg.VersionMinor,
			VersionBuild: pkg.VersionBuild, VersionComments: pkg.VersionComments, EntryPoint: pkg.EntryPoint,
		}
		if kept.Parameters, err = seal.parameters(pkg.Name, pkg.Parameters); err != nil {
			return command.Manifest{}, err
		}
		m.Packages = append(m.Packages, kept)
	}
	return m, nil
}

func (d deploySealer) parameters(pkg string, list []ispac.Parameter) ([]command.Parameter, error) {
	kept := make([]command.Parameter, 0, len(list))
	for i := range list {
		p := &list[i]
		k := command.Parameter{Name: p.Name, Description: p.Description, Type: p.Type.String(), Required: p.Required,
			Sensitive: p.Sensitive}
		if p.HasValue {
			text, err := ispac.FormatValue(p.Type, p.Value)
			if err != nil {
				return nil, fmt.Errorf("the default of parameter %s: it is not a %s", p.Name, p.Type) // the value may be a secret
			}
			k.Default = &command.Value{Type: k.Type, Text: text}
			if p.Sensitive {
				sealed, err := d.call.Seal(sqltype.NewSecret(text), catalog.SealNameDefault(d.blob, pkg, p.Name))
				if err != nil {
					return nil, fmt.Errorf("seal the default of parameter %s: %w", p.Name, err)
				}
				k.Default = &command.Value{Type: k.Type, Sealed: sealed}
			}
		}
		kept = append(kept, k)
	}
	return kept, nil
}
