// Package wire holds the JSON types of the routes that the catalog's registry does not describe: the protocol of
// workers, an operator's calls about the cluster, and the problem document of every error.
//
// It promises to decode a request strictly: an unknown field, a second value, or a body or nesting beyond its bound is
// an error that names it. Clients decode answers leniently, so that an older client understands a newer master. Of HTTP
// the package knows only the names of headers.
package wire
