// Package registry is the vocabulary in which procedures and views are declared: parameters, columns, result sets, and
// the codes with which a request is refused.
//
// It leaves the procedures to package procedure, the views to package view, and the names of the codes to package
// command, where the state finds them.
package registry
