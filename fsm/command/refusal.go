package command

import (
	"fmt"
)

// refusal is an error for people: a code of Codes and a sentence.
func Refuse(code, format string, args ...any) *Rejection {
	return &Rejection{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// limitRefusal refuses what would go beyond the limit of a setting.
func RefuseLimit(setting, format string, args ...any) *Rejection {
	no := Refuse(CodeLimitReached, format, args...)
	no.Limit = setting
	return no
}
