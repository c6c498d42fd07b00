package httpapi

import (
	"testing"

	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

// Package wire imports nothing of the catalog: the codes that clients act on stand there a second time.
func TestCodesOfTheWireAreTheCatalogs(t *testing.T) {
	for _, c := range []struct{ wire, catalog string }{
		{wire.CodeInvalidArgument, command.FamilyInvalidArgument},
		{wire.CodeKeyReused, command.CodeKeyReused},
		{wire.CodeGap, command.CodeGap},
		{wire.CodeFenced, command.FamilyFenced},
		{wire.CodeLimitReached, command.FamilyLimitReached},
		{wire.CodeBlobNotFound, command.CodeBlobNotFound},
		{wire.CodeFolderExists, command.CodeFolderExists},
		{wire.CodePermissionDenied, command.FamilyPermissionDenied},
		{wire.CodeLeaseTooShort, command.CodeLeaseTooShort},
		{wire.CodeAgentIDTaken, command.CodeAgentIDTaken},
		{wire.CodeWorkerNotRegistered, command.CodeWorkerNotRegistered},
		{wire.CodeInstanceReplaced, command.CodeInstanceReplaced},
	} {
		t.Run(c.wire, func(t *testing.T) {
			if c.wire != c.catalog {
				t.Errorf("the catalog says %s", c.catalog)
			}
		})
	}
}
