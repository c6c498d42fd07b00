// Package wire holds the JSON of the routes that the catalog's registry does not describe: what workers send and get,
// what an operator asks of the cluster, and the problem document that every error is.
//
// It promises that a request is decoded strictly (an unknown field, a second value, a body or a nesting beyond its bound
// is an error that names it) and that an answer is decoded leniently, so that an older client understands a newer
// master. It knows nothing of HTTP beyond the names of its headers.
package wire
