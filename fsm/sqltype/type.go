package sqltype

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
type Type uint32

// typeKind is the family of a SQLType; the lower 16 bits of a SQLType are its length.
type typeKind uint8

const (
	kindBigInt typeKind = iota + 1
	kindInt
	kindSmallInt
	kindBit
	KindNVarChar
	KindSysname
	KindChar
	kindDateTimeOffset
	kindGUID
	KindVarBinary
	kindVariant
)

// maxLength is the length of nvarchar(max) and varbinary(max).
const maxLength = 0xFFFF

// The types without a length of their own choice. NVarChar, Char and VarBinary make the others.
const (
	BigInt           = Type(kindBigInt) << 16
	Int              = Type(kindInt) << 16
	SmallInt         = Type(kindSmallInt) << 16
	Bit              = Type(kindBit) << 16
	Sysname          = Type(KindSysname)<<16 | 128
	Char1            = Type(KindChar)<<16 | 1
	NVarCharMax      = Type(KindNVarChar)<<16 | maxLength
	DateTimeOffset   = Type(kindDateTimeOffset)<<16 | 7
	UniqueIdentifier = Type(kindGUID) << 16
	VarBinaryMax     = Type(KindVarBinary)<<16 | maxLength
	Variant          = Type(kindVariant) << 16
)

// NVarChar is nvarchar(n), n from 1 to 4000 characters (UTF-16 units, as SQL Server counts them).
func NVarChar(n int) Type { return sized(KindNVarChar, n, 4000) }

// Char is char(n), n from 1 to 8000.
func Char(n int) Type { return sized(KindChar, n, 8000) }

// VarBinary is varbinary(n), n from 1 to 8000 bytes.
func VarBinary(n int) Type { return sized(KindVarBinary, n, 8000) }

func sized(k typeKind, n, most int) Type {
	if n < 1 || n > most {
		panic(fmt.Sprintf("catalog: a length of %d is outside 1–%d", n, most))
	}
	return Type(k)<<16 | Type(n)
}

func (t Type) Kind() typeKind { return typeKind(t >> 16) }
func (t Type) length() int    { return int(t & 0xFFFF) }

// Length is the most characters (nvarchar, sysname, char) or bytes (varbinary) that a value may have; 0 means that the
// type has no such limit.
func (t Type) Length() int {
	switch t.Kind() {
	case KindNVarChar, KindSysname, KindChar, KindVarBinary:
		if t.length() != maxLength {
			return t.length()
		}
	}
	return 0
}

// Range is the closed interval of an integer type; ok is false for the others.
func (t Type) Range() (low, high int64, ok bool) {
	switch t.Kind() {
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
func (t Type) IsText() bool {
	k := t.Kind()
	return k == KindNVarChar || k == KindSysname || k == KindChar
}

// IsBinary reports whether values are bytes.
func (t Type) IsBinary() bool { return t.Kind() == KindVarBinary }

var kindNames = map[typeKind]string{
	kindBigInt: "bigint", kindInt: "int", kindSmallInt: "smallint", kindBit: "bit", KindNVarChar: "nvarchar",
	KindSysname: "sysname", KindChar: "char", kindDateTimeOffset: "datetimeoffset", kindGUID: "uniqueidentifier",
	KindVarBinary: "varbinary", kindVariant: "sql_variant",
}

// String is the type as SQL writes it: "bigint", "nvarchar(128)", "varbinary(max)", "datetimeoffset(7)".
func (t Type) String() string {
	name, ok := kindNames[t.Kind()]
	if !ok {
		return "invalid"
	}
	switch t.Kind() {
	case KindNVarChar, KindChar, KindVarBinary, kindDateTimeOffset:
		if t.length() == maxLength {
			return name + "(max)"
		}
		return name + "(" + strconv.Itoa(t.length()) + ")"
	}
	return name
}

// MarshalText is String.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseSQLType.
func (t *Type) UnmarshalText(b []byte) error {
	p, err := Parse(string(b))
	if err == nil {
		*t = p
	}
	return err
}

// ParseSQLType reads a type as SQL writes it, in any case. "datetimeoffset" alone is datetimeoffset(7), "char" alone
// char(1); nvarchar and varbinary need a length or "max".
func Parse(s string) (Type, error) {
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
		most  int  // 0: takes no length
		alone Type // without a length; 0: needs one
	}{
		{"bigint", kindBigInt, 0, BigInt}, {"int", kindInt, 0, Int}, {"smallint", kindSmallInt, 0, SmallInt},
		{"bit", kindBit, 0, Bit}, {"sysname", KindSysname, 0, Sysname}, {"uniqueidentifier", kindGUID, 0, UniqueIdentifier},
		{"sql_variant", kindVariant, 0, Variant}, {"nvarchar", KindNVarChar, 4000, 0}, {"char", KindChar, 8000, Char1},
		{"varbinary", KindVarBinary, 8000, 0}, {"datetimeoffset", kindDateTimeOffset, 7, DateTimeOffset},
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
			return Type(k.kind)<<16 | maxLength, nil
		}
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 || n > k.most {
			return 0, fmt.Errorf("SQL type %q: the length must be a number from 1 to %d", s, k.most)
		}
		return Type(k.kind)<<16 | Type(n), nil
	}
	return 0, fmt.Errorf("SQL type %q is not known", s)
}
