// Package backup is the file of a whole cluster: what is in it, state, blobs and the key ring, in parts that each carry
// their SHA-256, with a last part that lists all of them. It is written and read as a stream.
//
// It promises that Read tells every damage: a flipped bit, a missing or added byte or part, a file that was cut off.
// What a visitor of Read sees of a part is not verified before the part's end, nor the file before Read returned:
// whoever acts on a file reads it twice. The key ring is encrypted; nothing else is: values that the catalog holds in
// clear are in clear here too.
//
// The package knows nothing of what the parts mean, and starts no goroutine.
package backup
