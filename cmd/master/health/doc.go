// Package health answers two questions about one master: whether it can serve (readiness), and whether it still works
// at all (liveness).
//
// A master that is not ready waits for something, and every condition that it waits for is named. A master that is not
// alive needs a restart: liveness asks within the process, so that no crowd of connections and nothing between a caller
// and the port makes a working master look dead. Neither question changes anything.
package health
