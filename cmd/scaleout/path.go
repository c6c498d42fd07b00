package main

import "strings"

// Shapes of paths on the command line.
const (
	projectShape = "FOLDER/PROJECT"
	packageShape = "FOLDER/PROJECT/PACKAGE"
)

// splitPath splits a path into as many parts as its shape has. The last part may hold more slashes, as a package's name
// may. It reports false if a part is missing.
func splitPath(text, shape string) (parts []string, ok bool) {
	parts = strings.SplitN(text, "/", strings.Count(shape, "/")+1)
	for _, part := range parts {
		if part == "" {
			return nil, false
		}
	}
	return parts, len(parts) == strings.Count(shape, "/")+1
}

// projectOf splits FOLDER/PROJECT.
func projectOf(text string) (folder, project string, err error) {
	parts, ok := splitPath(text, projectShape)
	if !ok {
		return "", "", usagef("%q: want %s", text, projectShape)
	}
	return parts[0], parts[1], nil
}

// packageOf splits FOLDER/PROJECT/PACKAGE.
func packageOf(text string) (folder, project, pkg string, err error) {
	parts, ok := splitPath(text, packageShape)
	if !ok {
		return "", "", "", usagef("%q: want %s, such as ETL/Sales/Load.dtsx", text, packageShape)
	}
	return parts[0], parts[1], parts[2], nil
}
