// Package logtail keeps the newest lines of a log in memory, for the debug bundle of a master.
//
// It promises that every record from level Info up reaches both the log and the tail, each as the log's own level
// allows; that the tail takes no more than a fixed number of lines; and that a tail can be read while others log.
package logtail
