package ispac

const verifierText = "SSIS"

func (rd *reader) readManifest(a *archive) error {
	p, ok := a.find(manifestPart)
	if !ok {
		return badPart(manifestPart, "it is missing; every project file has one")
	}
	root, err := rd.open(a, p, "Project")
	if err != nil {
		return err
	}
	word, ok := root.attr("ProtectionLevel")
	if !ok {
		return root.doc.bad("Project has no attribute ProtectionLevel")
	}
	level, err := parseProtectionLevel(word)
	if err != nil {
		return root.doc.bad("%v", err)
	}
	switch {
	case level == EncryptAllWithUserKey:
		return &PartError{Part: p.name, Err: ErrUserKey,
			Detail: "the project is encrypted for the Windows user who saved it (EncryptAllWithUserKey); save it with a " +
				"password or without sensitive values"}
	case level == EncryptAllWithPassword && rd.key == nil:
		return &PartError{Part: p.name, Err: ErrPasswordRequired,
			Detail: "the project is encrypted with a password (EncryptAllWithPassword), and none was given"}
	}
	rd.project.ProtectionLevel = level
	rd.metadata = map[string]Package{}
	err = root.children(func(e element) error {
		switch e.name() {
		case "Properties":
			return rd.projectProperties(e)
		case "Packages":
			return e.children(rd.packageEntry)
		case "ConnectionManagers":
			return e.children(func(e element) error {
				name, err := e.required("Name")
				rd.project.ConnectionManagers = append(rd.project.ConnectionManagers, name)
				return err
			})
		case "DeploymentInfo":
			return e.children(rd.deploymentInfo)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return root.doc.end()
}

func (e element) required(name string) (string, error) {
	v, ok := e.attr(name)
	if !ok || v == "" {
		return "", e.doc.bad("%s has no attribute %s", e.start.Name.Local, name)
	}
	return v, nil
}

func (rd *reader) packageEntry(e element) error {
	name, err := e.required("Name")
	if err != nil {
		return err
	}
	p := Package{Name: name, EntryPoint: true}
	if text, ok := e.attr("EntryPoint"); ok {
		if p.EntryPoint, err = parseFlag(text); err != nil {
			return e.doc.bad("EntryPoint of %s: %v", clip(name), err)
		}
	}
	rd.project.Packages = append(rd.project.Packages, p)
	return nil
}

func (rd *reader) deploymentInfo(e element) error {
	switch e.name() {
	case "ProjectConnectionParameters":
		own, err := rd.parameters(e, "")
		rd.own = append(rd.own, own...)
		return err
	case "PackageInfo":
		return e.children(rd.packageMetadata)
	}
	return nil
}

func (rd *reader) packageMetadata(e element) error {
	name, err := e.required("Name")
	if err != nil {
		return err
	}
	if _, twice := rd.metadata[fold(name)]; twice {
		return e.doc.bad("the metadata of package %s stands there twice", clip(name))
	}
	p := Package{Name: name, ProtectionLevel: rd.project.ProtectionLevel}
	err = e.children(func(e element) error {
		switch e.name() {
		case "Properties":
			return eachProperty(e, func(name string, e element) error { return p.property(name, e) })
		case "Parameters":
			more, err := rd.parameters(e, p.Name)
			p.Parameters = append(p.Parameters, more...)
			return err
		}
		return nil
	})
	rd.metadata[fold(name)] = p
	return err
}

func (rd *reader) projectProperties(e element) error {
	p := rd.project
	return eachProperty(e, func(name string, e element) error {
		switch name {
		case "ID":
			return e.guid(&p.ID)
		case "Name":
			return e.into(&p.Name)
		case "Description":
			return e.into(&p.Description)
		case "VersionMajor":
			return e.readNumber(&p.VersionMajor)
		case "VersionMinor":
			return e.readNumber(&p.VersionMinor)
		case "VersionBuild":
			return e.readNumber(&p.VersionBuild)
		case "VersionComments":
			return e.into(&p.VersionComments)
		case "FormatVersion":
			return e.readNumber(&p.FormatVersion)
		case "CreationDate":
			return e.into(&p.CreationDate)
		case "CreatorName":
			return e.into(&p.CreatorName)
		case "CreatorComputerName":
			return e.into(&p.CreatorComputerName)
		case "PasswordVerifier":
			return rd.verifyPassword(e)
		}
		return nil
	})
}

// verifyPassword checks the password before any value is decrypted with it. A
// verifier under a user's key tells nothing.
func (rd *reader) verifyPassword(e element) error {
	if rd.key == nil || !e.sealed() {
		return nil
	}
	e, err := e.unseal()
	if err != nil {
		return err
	}
	text, err := e.text()
	if err == nil && text != verifierText {
		return &PartError{Part: e.doc.part, Err: ErrWrongPassword,
			Detail: "the project password is wrong: its verifier decrypts to something else"}
	}
	return err
}

func (p *Package) property(name string, e element) error {
	switch name {
	case "ID":
		return e.guid(&p.ID)
	case "VersionGUID":
		return e.guid(&p.VersionGUID)
	case "Description":
		return e.into(&p.Description)
	case "VersionComments":
		return e.into(&p.VersionComments)
	case "VersionMajor":
		return e.readNumber(&p.VersionMajor)
	case "VersionMinor":
		return e.readNumber(&p.VersionMinor)
	case "VersionBuild":
		return e.readNumber(&p.VersionBuild)
	case "PackageFormatVersion":
		return e.readNumber(&p.FormatVersion)
	case "ProtectionLevel":
		n := int(p.ProtectionLevel)
		if err := e.readNumber(&n); err != nil {
			return err
		}
		if p.ProtectionLevel = ProtectionLevel(n); n < 0 || n >= len(protectionWords) {
			return e.doc.bad("the protection level %d is not one of 0 to 5", n)
		}
	}
	return nil
}
