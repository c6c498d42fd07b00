package ispac

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// layout writes XML with the line breaks and indentation of the product's own
// files, so that a file written here differs from one of Visual Studio's in
// what it says only.
type layout struct {
	b    bytes.Buffer
	part string
	open []string
	err  error // the first text that XML cannot carry

	// split puts each attribute on a line of its own and ends an empty property
	// at once: Project.params has that form, the manifest the other.
	split bool
}

func (l *layout) line() {
	if l.b.Len() > 0 {
		l.b.WriteString("\r\n")
	}
	l.b.WriteString(strings.Repeat("  ", len(l.open)))
}

// tag writes `<SSIS:name attr="value"…`, without the end of the tag. attrs are
// names and values in turn.
func (l *layout) tag(name string, attrs ...string) {
	l.line()
	l.b.WriteString("<SSIS:" + name)
	for i := 0; i < len(attrs); i += 2 {
		l.attr(attrs[i], attrs[i+1])
	}
}

func (l *layout) attr(name, value string) {
	if l.split && !strings.HasPrefix(name, "xmlns") {
		l.b.WriteString("\r\n" + strings.Repeat("  ", len(l.open)+1))
	} else {
		l.b.WriteByte(' ')
	}
	l.b.WriteString(name + `="` + l.text(value) + `"`)
}

func (l *layout) start(name string, attrs ...string) {
	l.tag(name, attrs...)
	l.b.WriteByte('>')
	l.open = append(l.open, name)
}

func (l *layout) empty(name string, attrs ...string) {
	l.tag(name, attrs...)
	l.b.WriteString(" />")
}

func (l *layout) end() {
	name := l.open[len(l.open)-1]
	l.open = l.open[:len(l.open)-1]
	l.line()
	l.b.WriteString("</SSIS:" + name + ">")
}

// writeList writes an element with n children, or an empty one.
func (l *layout) writeList(name string, n int, child func(i int)) {
	if n == 0 {
		l.empty(name)
		return
	}
	l.start(name)
	for i := range n {
		child(i)
	}
	l.end()
}

func (l *layout) property(name, value string) { l.propertyWith(name, value, false) }

func (l *layout) propertyWith(name, value string, sensitive bool) {
	var attrs []string
	if value != "" && blank(value) {
		attrs = append(attrs, "xml:space", "preserve") // else it would read as no text
	}
	attrs = append(attrs, "SSIS:Name", name)
	if sensitive {
		attrs = append(attrs, "SSIS:Sensitive", "1")
	}
	l.tag("Property", attrs...)
	l.b.WriteByte('>')
	if value == "" && !l.split {
		l.line()
	} else {
		l.b.WriteString(l.text(value))
	}
	l.b.WriteString("</SSIS:Property>")
}

func (l *layout) writeNumber(name string, n int) { l.property(name, strconv.Itoa(n)) }

func (l *layout) flag(name string, b bool) {
	if b {
		l.property(name, "1")
	} else {
		l.property(name, "0")
	}
}

func (l *layout) guid(name, guid string) {
	if guid != "" {
		if plain, err := parseGUID(guid); err != nil {
			l.fail("the property %s: %v", name, err)
		} else {
			guid = "{" + plain + "}"
		}
	}
	l.property(name, guid)
}

func (l *layout) fail(format string, args ...any) {
	if l.err == nil {
		l.err = badPart(l.part, fmt.Sprintf(format, args...))
	}
}

// text escapes s. What XML cannot say is an error: replacing it would change a
// value silently.
func (l *layout) text(s string) string {
	if !utf8.ValidString(s) {
		l.fail("a text is not valid UTF-8")
	}
	for _, r := range s {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			l.fail("a text contains the character U+%04X, which XML cannot carry", r)
		}
	}
	return xmlText(s)
}

func (p *Project) manifest() ([]byte, error) {
	l := &layout{part: manifestPart}
	l.start("Project", "SSIS:ProtectionLevel", p.ProtectionLevel.String(), "xmlns:SSIS", ssisSpace)

	l.start("Properties")
	l.guid("ID", p.ID)
	l.property("Name", p.Name)
	l.writeNumber("VersionMajor", p.VersionMajor)
	l.writeNumber("VersionMinor", p.VersionMinor)
	l.writeNumber("VersionBuild", p.VersionBuild)
	l.property("VersionComments", p.VersionComments)
	l.property("CreationDate", p.CreationDate)
	l.property("CreatorName", p.CreatorName)
	l.property("CreatorComputerName", p.CreatorComputerName)
	l.property("Description", p.Description)
	l.writeNumber("FormatVersion", p.FormatVersion)
	l.end()

	l.writeList("Packages", len(p.Packages), func(i int) {
		entry := "0"
		if p.Packages[i].EntryPoint {
			entry = "1"
		}
		l.empty("Package", "SSIS:Name", p.Packages[i].Name, "SSIS:EntryPoint", entry)
	})
	l.writeList("ConnectionManagers", len(p.ConnectionManagers), func(i int) {
		l.empty("ConnectionManager", "SSIS:Name", p.ConnectionManagers[i])
	})

	l.start("DeploymentInfo")
	_, generated := splitParameters(p.Parameters)
	l.writeList("ProjectConnectionParameters", len(generated), func(i int) { l.parameter(generated[i]) })
	l.writeList("PackageInfo", len(p.Packages), func(i int) { l.metadata(&p.Packages[i]) })
	l.end()

	l.end()
	return l.b.Bytes(), l.err
}

func (l *layout) metadata(p *Package) {
	l.start("PackageMetaData", "SSIS:Name", p.Name)
	l.start("Properties")
	l.guid("ID", p.ID)
	l.property("Name", strings.TrimSuffix(p.Name, ext(p.Name)))
	l.writeNumber("VersionMajor", p.VersionMajor)
	l.writeNumber("VersionMinor", p.VersionMinor)
	l.writeNumber("VersionBuild", p.VersionBuild)
	l.property("VersionComments", p.VersionComments)
	l.guid("VersionGUID", p.VersionGUID)
	l.writeNumber("PackageFormatVersion", p.FormatVersion)
	l.property("Description", p.Description)
	l.writeNumber("ProtectionLevel", int(p.ProtectionLevel))
	l.end()
	l.writeList("Parameters", len(p.Parameters), func(i int) { l.parameter(p.Parameters[i]) })
	l.end()
}

func (l *layout) parameter(p Parameter) {
	l.start("Parameter", "SSIS:Name", p.Name)
	l.start("Properties")
	l.guid("ID", p.ID)
	l.property("CreationName", "")
	l.property("Description", p.Description)
	l.flag("IncludeInDebugDump", false)
	l.flag("Required", p.Required)
	l.flag("Sensitive", p.Sensitive)
	switch {
	case p.HasValue:
		text, err := FormatValue(p.Type, p.Value)
		if err != nil {
			l.fail("parameter %s: its value is not a valid %s", clip(p.Name), p.Type)
		}
		l.propertyWith("Value", text, false)
	case p.Sensitive && !p.Generated():
		l.propertyWith("Value", "", true)
	}
	l.writeNumber("DataType", int(p.Type))
	l.end()
	l.end()
}

func splitParameters(params []Parameter) (declared, generated []Parameter) {
	for _, p := range params {
		if p.Generated() {
			generated = append(generated, p)
		} else {
			declared = append(declared, p)
		}
	}
	return declared, generated
}

// params returns the content of Project.params.
func (p *Project) params() ([]byte, error) {
	l := &layout{part: paramsPart, split: true}
	l.b.WriteString(`<?xml version="1.0"?>`)
	declared, _ := splitParameters(p.Parameters)
	if len(declared) == 0 {
		l.empty("Parameters", "xmlns:SSIS", ssisSpace)
		return l.b.Bytes(), l.err
	}
	l.start("Parameters", "xmlns:SSIS", ssisSpace)
	for _, q := range declared {
		l.parameter(q)
	}
	l.end()
	return l.b.Bytes(), l.err
}
