// Package admission decides which connections may stay while more want in than there is room for. It never waits:
// whoever accepts connections asks it in the accept loop.
package admission
