//go:build scaleout_level1

package command

// Level of a binary that is made for tests of rolling upgrades: it stands for the version before this one.
const Level = 1
