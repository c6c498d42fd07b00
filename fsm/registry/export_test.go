package registry

// Reword changes every sentence of the table until restore is called.
func Reword(change func(string) string) (restore func()) {
	var undo []func()
	for _, list := range [][]Message{requestMessages, catalogMessages, workerMessages, noteMessages, reasonMessages} {
		for i := range list {
			m, old := &list[i], list[i]
			undo = append(undo, func() { *m = old })
			m.Text, m.CLI = change(m.Text), change(m.CLI)
		}
	}
	return func() {
		for _, f := range undo {
			f()
		}
	}
}
