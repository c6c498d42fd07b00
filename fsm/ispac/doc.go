// Package ispac reads and writes project files (.ispac): the zip packages in
// which SSIS projects are deployed.
//
// [Read] turns a file into the facts that a catalog keeps about a project
// (packages, entry points, versions, typed parameters). It never looks into a
// package's body: everything it tells stands in the manifest and in
// Project.params. [Extract] hands out the parts for unpacking, [Write] makes a
// file with the layout that Visual Studio gives it, and [ParseDefinition] reads
// the project.yaml from which a folder of scripts becomes a project.
//
// # Promises
//
// A project file is input from a stranger. Read and Extract bound what they
// inflate (per part, in total, and by ratio), refuse names that could leave the
// target folder or mean two things on some file system, refuse document type
// declarations and every encoding but UTF-8, and never panic. Read inflates and
// checks every part, so that a file it accepted can be unpacked. Errors are
// [*PartError]s: they name the part, say what is wrong, and never show a
// sensitive value.
//
// Write is deterministic: the same project and parts give the same bytes.
//
// The package is pure. It has no clock, no randomness, no files and no network:
// bytes come from the caller's readers, GUIDs from the caller's function.
//
// # Choices
//
//   - A part that the manifest does not name is an error when it is a .dtsx or a
//     .conmgr (it would run or connect without the catalog knowing), and a plain
//     file of the project otherwise: data, libraries, a readme.
//   - All parts lie flat in the root; there are no folders in a project file.
//   - Names are compared without case, in manifest and zip directory alike, with
//     Unicode's simple case folding.
//   - Parameters become environment variables (see [EnvName]). A declared
//     parameter whose variable another parameter of the same scope also has is
//     refused. Two generated parameters ("CM." names) may share one: nobody can
//     rename those, and they are read by their exact names.
//   - The name rules of the catalog (identifiers) bind declared parameters only.
//   - A generated parameter of a type that the catalog does not have is left out
//     with a warning; a declared one is an error.
//   - A missing Project.params or [Content_Types].xml is a warning.
//   - Empty text in an element means an empty value for String and "no value"
//     for the other types.
package ispac
