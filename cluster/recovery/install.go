package recovery

import (
	"errors"
	"fmt"
	"time"

	"scaleout/store"
)

// ErrInstalling: this master ended while it installed a restored state, and cannot know whether the others have it.
var ErrInstalling = errors.New("this master ended while it restored a backup, before a majority of the masters had " +
	"the state")

// installDocument is kept from before a state is installed until a majority has it. Between the two this master alone
// holds the state, at a place of the log where the others, should they elect another leader, write something else.
const installDocument = "installing"

type installing struct {
	Pending bool      `json:"pending"`
	Since   time.Time `json:"since"`
}

// MarkInstalling notes that a restored state is about to be installed.
func MarkInstalling(dir *store.Dir, since time.Time) error {
	return dir.Save(installDocument, installing{Pending: true, Since: since})
}

// ClearInstalling takes the note back: it is known whether this master's state is the cluster's.
func ClearInstalling(dir *store.Dir) error { return dir.Save(installDocument, installing{}) }

// CheckInstalling returns ErrInstalling, with what to do, if it is not known whether this master's state is the
// cluster's. Such a master must not start.
func CheckInstalling(dir *store.Dir) error {
	var d installing
	if _, err := dir.Load(installDocument, &d); err != nil {
		return err
	}
	if d.Pending {
		return fmt.Errorf("%w. The other masters know: they either have it or begin empty. "+
			"Empty this master's data directory (%s) completely and start it: it joins them as a new one. "+
			"Then, if they are empty, restore again", ErrInstalling, dir.Path())
	}
	return nil
}
