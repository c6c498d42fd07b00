// Package peer is the calls that masters make to each other: JSON over the transport's peer connections.
//
// It promises that a Server answers nobody but masters of this cluster, as the transport found out, and nothing but
// what AlwaysServed names before its node has started; and that a refusal reaches the caller as a *Problem, with a code
// for programs and a sentence for people.
//
// It knows the form of a call and not what is called: each room registers its own routes with Get and Post. It leaves
// blobs, which are streams, to cluster/blobs and connections to cluster/transport.
package peer
