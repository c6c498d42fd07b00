// Package config has the settings of one master: their defaults, what follows from them, and how they are shown.
//
// A zero value means a default, and Fill is the only place that knows it. Settings shows every setting of
// MasterSettings.config that has an effect, and none of them is a secret; Common are those of them that should be equal
// on all masters.
package config
