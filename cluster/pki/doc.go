// Package pki is the cluster's own certificate authority and everything a node
// does with what it issues: certificates that say who the holder is, the watched
// credentials of one node, thumbprints, and the key ring that seals secrets.
//
// # Who a certificate names
//
// A leaf carries exactly one URI subject alternative name,
//
//	scaleout://<cluster-id>/<role>/<name>[?roles=ssis_admin,ssis_monitor]
//
// with role master, worker or user. The name is percent-encoded; roles stand only
// on users. The common name repeats the name for people; nothing reads it. Masters
// may act as TLS server and client, workers and users as client only.
//
// # Trust
//
// Only the certificates of the configured CA file are trusted, never the
// system's. A certificate is accepted if it chains to that file and names this
// cluster; both, because two clusters could share a CA file by mistake.
//
// # Rotation
//
// Rotate makes a new CA beside the older ones and has the previous CA sign the
// new one's key. Leaves issued afterwards carry that cross-certificate in
// cert.pem, so a node that still trusts only the old CA accepts them, while the
// new ca.pem holds both CAs, so a renewed node accepts leaves that were not
// renewed yet. Nodes can therefore be renewed one by one, in any order, while
// everything runs. Retire drops the oldest CA once every leaf has been renewed.
//
// SHA-1 appears only as a thumbprint to compare with, because the product's
// settings hold SHA-1 thumbprints. Nothing is signed with it.
package pki
