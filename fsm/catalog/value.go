package catalog

import (
	"fmt"
	"strconv"
	"strings"
)

// SQLType is the SQL type of a parameter or a column. It is a plain number, so that it can be compared with == and
// stand in a constant. Go values of the types, in Args and in rows, nil being NULL everywhere:
//
//	bigint, int, smallint                 int64
//	bit                                   bool
//	nvarchar, sysname, char, nvarchar(max) string
//	datetimeoffset                        command.Time
//	uniqueidentifier                      string, upper case 8-4-4-4-12
//	varbinary                             []byte (deploy_project's stream also Blob)
//	sql_variant                           int64, float64, bool, string, command.Time or json.Number for a number
//	                                      that fits none of them
type SQLType uint32

// typeKind is the family of a SQLType; the lower 16 bits of a SQLType are its length.
type typeKind uint8

const (
	kindBigInt typeKind = iota + 1
	kindInt
	kindSmallInt
	kindBit
	kindNVarChar
	kindSysname
	kindChar
	kindDateTimeOffset
	kindGUID
	kindVarBinary
	kindVariant
)

// maxLength is the length of nvarchar(max) and varbinary(max).
const maxLength = 0xFFFF

// The types without a length of their own choice. NVarChar, Char and VarBinary make the others.
const (
	BigInt           = SQLType(kindBigInt) << 16
	Int              = SQLType(kindInt) << 16
	SmallInt         = SQLType(kindSmallInt) << 16
	Bit              = SQLType(kindBit) << 16
	Sysname          = SQLType(kindSysname)<<16 | 128
	Char1            = SQLType(kindChar)<<16 | 1
	NVarCharMax      = SQLType(kindNVarChar)<<16 | maxLength
	DateTimeOffset   = SQLType(kindDateTimeOffset)<<16 | 7
	UniqueIdentifier = SQLType(kindGUID) << 16
	VarBinaryMax     = SQLType(kindVarBinary)<<16 | maxLength
	SQLVariant       = SQLType(kindVariant) << 16
)

// NVarChar is nvarchar(n), n from 1 to 4000 characters (UTF-16 units, as SQL Server counts them).
func NVarChar(n int) SQLType { return sized(kindNVarChar, n, 4000) }

// Char is char(n), n from 1 to 8000.
func Char(n int) SQLType { return sized(kindChar, n, 8000) }

// VarBinary is varbinary(n), n from 1 to 8000 bytes.
func VarBinary(n int) SQLType { return sized(kindVarBinary, n, 8000) }

func sized(k typeKind, n, most int) SQLType {
	if n < 1 || n > most {
		panic(fmt.Sprintf("catalog: a length of %d is outside 1–%d", n, most))
	}
	return SQLType(k)<<16 | SQLType(n)
}

func (t SQLType) kind() typeKind { return typeKind(t >> 16) }
func (t SQLType) length() int    { return int(t & 0xFFFF) }

// Length is the most characters (nvarchar, sysname, char) or bytes (varbinary) that a value may have; 0 means that the
// type has no such limit.
func (t SQLType) Length() int {
	switch t.kind() {
	case kindNVarChar, kindSysname, kindChar, kindVarBinary:
		if t.length() != maxLength {
			return t.length()
		}
	}
	return 0
}

// Range is the closed interval of an integer type; ok is false for the others.
func (t SQLType) Range() (low, high int64, ok bool) {
	switch t.kind() {
	case kindBigInt:
		return -1 << 63, 1<<63 - 1, true
	case kindInt:
		return -1 << 31, 1<<31 - 1, true
	case kindSmallInt:
		return -1 << 15, 1<<15 - 1, true
	}
	return 0, 0, false
}

// IsText reports whether values are Go strings that hold text.
func (t SQLType) IsText() bool {
	k := t.kind()
	return k == kindNVarChar || k == kindSysname || k == kindChar
}

// IsBinary reports whether values are bytes.
func (t SQLType) IsBinary() bool { return t.kind() == kindVarBinary }

var kindNames = map[typeKind]string{
	kindBigInt: "bigint", kindInt: "int", kindSmallInt: "smallint", kindBit: "bit", kindNVarChar: "nvarchar",
	kindSysname: "sysname", kindChar: "char", kindDateTimeOffset: "datetimeoffset", kindGUID: "uniqueidentifier",
	kindVarBinary: "varbinary", kindVariant: "sql_variant",
}

// String is the type as SQL writes it: "bigint", "nvarchar(128)", "varbinary(max)", "datetimeoffset(7)".
func (t SQLType) String() string {
	name, ok := kindNames[t.kind()]
	if !ok {
		return "invalid"
	}
	switch t.kind() {
	case kindNVarChar, kindChar, kindVarBinary, kindDateTimeOffset:
		if t.length() == maxLength {
			return name + "(max)"
		}
		return name + "(" + strconv.Itoa(t.length()) + ")"
	}
	return name
}

// MarshalText is String.
func (t SQLType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseSQLType.
func (t *SQLType) UnmarshalText(b []byte) error {
	p, err := ParseSQLType(string(b))
	if err == nil {
		*t = p
	}
	return err
}

// ParseSQLType reads a type as SQL writes it, in any case. "datetimeoffset" alone is datetimeoffset(7), "char" alone
// char(1); nvarchar and varbinary need a length or "max".
func ParseSQLType(s string) (SQLType, error) {
	name, arg, hasArg := strings.Cut(strings.ToLower(strings.TrimSpace(s)), "(")
	name = strings.TrimSpace(name)
	if hasArg {
		var ok bool
		if arg, ok = strings.CutSuffix(arg, ")"); !ok {
			return 0, fmt.Errorf("SQL type %q: the closing parenthesis is missing", s)
		}
		arg = strings.TrimSpace(arg)
	}
	for _, k := range []struct {
		name  string
		kind  typeKind
		most  int     // 0: takes no length
		alone SQLType // without a length; 0: needs one
	}{
		{"bigint", kindBigInt, 0, BigInt}, {"int", kindInt, 0, Int}, {"smallint", kindSmallInt, 0, SmallInt},
		{"bit", kindBit, 0, Bit}, {"sysname", kindSysname, 0, Sysname}, {"uniqueidentifier", kindGUID, 0, UniqueIdentifier},
		{"sql_variant", kindVariant, 0, SQLVariant}, {"nvarchar", kindNVarChar, 4000, 0}, {"char", kindChar, 8000, Char1},
		{"varbinary", kindVarBinary, 8000, 0}, {"datetimeoffset", kindDateTimeOffset, 7, DateTimeOffset},
	} {
		if k.name != name {
			continue
		}
		switch {
		case !hasArg && k.alone == 0:
			return 0, fmt.Errorf("SQL type %q needs a length, as in %s(100) or %s(max)", s, name, name)
		case !hasArg:
			return k.alone, nil
		case k.most == 0:
			return 0, fmt.Errorf("SQL type %q: %s takes no length", s, name)
		case arg == "max" && k.alone == 0:
			return SQLType(k.kind)<<16 | maxLength, nil
		}
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 || n > k.most {
			return 0, fmt.Errorf("SQL type %q: the length must be a number from 1 to %d", s, k.most)
		}
		return SQLType(k.kind)<<16 | SQLType(n), nil
	}
	return 0, fmt.Errorf("SQL type %q is not known", s)
}

var statusWords = [...]string{
	Created: "created", Running: "running", Canceled: "canceled", Failed: "failed", Pending: "pending",
	EndedUnexpectedly: "ended unexpectedly", Succeeded: "succeeded", Stopping: "stopping", Completed: "completed",
}

// String is the product's word for the status.
func (s Status) String() string {
	if s < Created || int(s) >= len(statusWords) {
		return "status " + strconv.Itoa(int(s))
	}
	return statusWords[s]
}
