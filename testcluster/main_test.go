package testcluster_test

import (
	"testing"

	"scaleout/testcluster"
)

func TestMain(m *testing.M) { testcluster.Main(m) }
