package testcluster_test

import (
	"os"
	"testing"

	"scaleout/testcluster"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(attackerVariable); file != "" {
		os.Exit(attackerMain(file))
	}
	testcluster.Main(m)
}
