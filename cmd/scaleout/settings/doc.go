// Package settings reads MasterSettings.config and WorkerSettings.config: the product's own keys, and ours in the same
// style.
//
// A setting comes from a flag, else the environment, else the file, else its default. The files are JSON, with or
// without a byte order mark. Every problem is found in one pass and named with its line: an unknown key, a wrong type,
// a value out of range, a key given twice in its two spellings.
package settings
