// Package sqltype is SQL Server's scalar types as the catalog uses them: the Go value of each, its forms in JSON and in
// text, and the one collation by which texts are equal and ordered.
//
// It promises that what one form says, every other form says too: a value survives the way to JSON and back, and two
// builds of the program never disagree on whether two names are the same.
package sqltype
