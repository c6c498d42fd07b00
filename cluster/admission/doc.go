// Package admission decides which connections may stay when more ask for a place than there are places. It never waits,
// so that an accept loop can ask it.
package admission
