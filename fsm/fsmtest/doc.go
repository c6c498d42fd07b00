// Package fsmtest is a catalog in memory for tests: procedures are called as a door calls them, their commands are
// applied to a real state, and views are read from it.
package fsmtest
