package guard

import "os"

// queued is how many bytes stand in a pipe; here nobody says.
func queued(*os.File) int64 { return 0 }
