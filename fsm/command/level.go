//go:build !scaleout_level1

package command

// Level is the highest feature level that this binary knows. A node applies every kind up to it.
const Level = 3
