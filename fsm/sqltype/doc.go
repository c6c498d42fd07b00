// Package sqltype is SQL Server's scalar types: their names and limits, the Go value of each, its forms in JSON and in
// text, and the one collation by which texts are equal and ordered.
//
// It promises that what one form says, every other form says too: a value survives the way to JSON and back, and that
// to text and back. Two builds of the program never disagree on whether two names are the same, since the tables of the
// collation are part of the module. A Secret leaves it by Reveal alone.
//
// It leaves to others what a value means: which parameter or column has which type is said in their declarations.
package sqltype
