package sqltype

import (
	"fmt"
	"strconv"
	"strings"
)

// Type is the SQL type of a parameter or a column: SQL Server's scalar types with length, precision and scale. It is a
// plain number, so that it can be compared with == and stand in a constant. These are the Go values of the types, in
// Args and in rows; nil is NULL everywhere:
//
//	bigint, int, smallint, tinyint          int64
//	bit                                     bool
//	decimal(p,s), money, smallmoney         DecimalValue
//	float, real                             float64, finite; of a real one that fits in 32 bits
//	date, smalldatetime, datetime, datetime2(n)
//	                                        CivilTime
//	time(n)                                 TimeOfDay
//	datetimeoffset(n)                       command.Time: the instant, without its offset, between 1678 and 2262
//	nvarchar, nchar, varchar, char, sysname string
//	uniqueidentifier                        string, upper case 8-4-4-4-12
//	varbinary, binary                       []byte (deploy_project's stream also Blob)
//	sql_variant                             VariantValue; also bool, string or json.Number, as JSON has them
//
// numeric is decimal, and float(n) is real up to float(24) and float above. varchar and char hold any text, and their
// length counts characters as that of nvarchar does. char and nchar are not padded, since blanks at the end do not
// count; binary is. Missing are xml, the old large types (text, ntext, image), rowversion and the CLR types.
type Type uint32

// typeKind is the family of a Type; the lower 16 bits of a Type are its length, or its precision and scale.
type typeKind uint8

const (
	kindBigInt typeKind = iota + 1
	kindInt
	kindSmallInt
	kindTinyInt
	kindBit
	kindDecimal
	kindMoney
	kindSmallMoney
	kindFloat
	kindReal
	kindDate
	kindTime
	kindSmallDateTime
	kindDateTime
	kindDateTime2
	kindDateTimeOffset
	kindNVarChar
	kindNChar
	kindVarChar
	kindChar
	kindSysname
	kindGUID
	kindVarBinary
	kindBinary
	kindVariant
)

// maxLength is the length of nvarchar(max), varchar(max) and varbinary(max).
const maxLength = 0xFFFF

// The types without a choice, and the usual choices. Functions and WithScale make the others.
const (
	BigInt           = Type(kindBigInt) << 16
	Int              = Type(kindInt) << 16
	SmallInt         = Type(kindSmallInt) << 16
	TinyInt          = Type(kindTinyInt) << 16
	Bit              = Type(kindBit) << 16
	Money            = Type(kindMoney) << 16
	SmallMoney       = Type(kindSmallMoney) << 16
	Float            = Type(kindFloat) << 16
	Real             = Type(kindReal) << 16
	Date             = Type(kindDate) << 16
	Time             = Type(kindTime)<<16 | maxScale
	SmallDateTime    = Type(kindSmallDateTime) << 16
	DateTime         = Type(kindDateTime) << 16
	DateTime2        = Type(kindDateTime2)<<16 | maxScale
	DateTimeOffset   = Type(kindDateTimeOffset)<<16 | maxScale
	NVarCharMax      = Type(kindNVarChar)<<16 | maxLength
	VarCharMax       = Type(kindVarChar)<<16 | maxLength
	Char1            = Type(kindChar)<<16 | 1
	Sysname          = Type(kindSysname)<<16 | 128
	UniqueIdentifier = Type(kindGUID) << 16
	VarBinaryMax     = Type(kindVarBinary)<<16 | maxLength
	Variant          = Type(kindVariant) << 16
)

// NVarChar is nvarchar(n), n from 1 to 4000 characters (UTF-16 units, as SQL Server counts them).
func NVarChar(n int) Type { return sized(kindNVarChar, n) }

// NChar is nchar(n), n from 1 to 4000.
func NChar(n int) Type { return sized(kindNChar, n) }

// VarChar is varchar(n), n from 1 to 8000.
func VarChar(n int) Type { return sized(kindVarChar, n) }

// Char is char(n), n from 1 to 8000.
func Char(n int) Type { return sized(kindChar, n) }

// VarBinary is varbinary(n), n from 1 to 8000 bytes.
func VarBinary(n int) Type { return sized(kindVarBinary, n) }

// Binary is binary(n), n from 1 to 8000 bytes.
func Binary(n int) Type { return sized(kindBinary, n) }

// Decimal is decimal(precision, scale): 1 to 38 digits, scale of them after the point.
func Decimal(precision, scale int) Type {
	if precision < 1 || precision > maxPrecision || scale < 0 || scale > precision {
		panic(fmt.Sprintf("sqltype: there is no decimal(%d,%d)", precision, scale))
	}
	return Type(kindDecimal)<<16 | Type(precision)<<8 | Type(scale)
}

// WithScale is time, datetime2 or datetimeoffset with n decimals of a second, 0 to 7.
func (t Type) WithScale(n int) Type {
	if !kinds[t.kind()].seconds || n < 0 || n > maxScale {
		panic(fmt.Sprintf("sqltype: %s has no scale of %d", t, n))
	}
	return t&^0xFFFF | Type(n)
}

func sized(k typeKind, n int) Type {
	if n < 1 || n > kinds[k].most {
		panic(fmt.Sprintf("sqltype: a length of %d is outside 1–%d", n, kinds[k].most))
	}
	return Type(k)<<16 | Type(n)
}

const (
	maxPrecision = 38
	maxScale     = 7
)

// kindInfo is what there is to say about a kind.
type kindInfo struct {
	name             string
	most             int  // the largest length; 0: has none
	max              bool // also takes (max)
	alone            Type // what the name alone means, where it has a choice; 0: needs a length
	seconds          bool // has decimals of a second
	precision, scale int  // of the kinds without a choice, as SQL Server's catalog has them
}

var kinds = [...]kindInfo{
	kindBigInt:         {name: "bigint", precision: 19},
	kindInt:            {name: "int", precision: 10},
	kindSmallInt:       {name: "smallint", precision: 5},
	kindTinyInt:        {name: "tinyint", precision: 3},
	kindBit:            {name: "bit", precision: 1},
	kindDecimal:        {name: "decimal", alone: Type(kindDecimal)<<16 | 18<<8},
	kindMoney:          {name: "money", precision: 19, scale: 4},
	kindSmallMoney:     {name: "smallmoney", precision: 10, scale: 4},
	kindFloat:          {name: "float", precision: 53},
	kindReal:           {name: "real", precision: 24},
	kindDate:           {name: "date", precision: 10},
	kindTime:           {name: "time", alone: Time, seconds: true, precision: 8},
	kindSmallDateTime:  {name: "smalldatetime", precision: 16},
	kindDateTime:       {name: "datetime", precision: 23, scale: 3},
	kindDateTime2:      {name: "datetime2", alone: DateTime2, seconds: true, precision: 19},
	kindDateTimeOffset: {name: "datetimeoffset", alone: DateTimeOffset, seconds: true, precision: 26},
	kindNVarChar:       {name: "nvarchar", most: 4000, max: true},
	kindNChar:          {name: "nchar", most: 4000, alone: Type(kindNChar)<<16 | 1},
	kindVarChar:        {name: "varchar", most: 8000, max: true},
	kindChar:           {name: "char", most: 8000, alone: Char1},
	kindSysname:        {name: "sysname"},
	kindGUID:           {name: "uniqueidentifier"},
	kindVarBinary:      {name: "varbinary", most: 8000, max: true},
	kindBinary:         {name: "binary", most: 8000, alone: Type(kindBinary)<<16 | 1},
	kindVariant:        {name: "sql_variant"},
}

func (t Type) kind() typeKind {
	if k := t >> 16; int(k) < len(kinds) {
		return typeKind(k)
	}
	return 0
}

func (t Type) length() int { return int(t & 0xFFFF) }

// Length is the most characters (of a text) or bytes (of a binary) that a value may have; 0 means that the type has no
// such limit.
func (t Type) Length() int {
	if (t.IsText() || t.IsBinary()) && t.length() != maxLength {
		return t.length()
	}
	return 0
}

// Unlimited is the type of a text or of bytes without its length, and any other type itself.
func (t Type) Unlimited() Type {
	switch {
	case t.IsText():
		return NVarCharMax
	case t.IsBinary():
		return VarBinaryMax
	}
	return t
}

// Precision is how many digits a number has, in bits of a float and a real, or how many characters a date or a time; 0
// of other types. It is what SQL Server's catalog says.
func (t Type) Precision() int {
	switch k := kinds[t.kind()]; {
	case t.kind() == kindDecimal:
		return t.length() >> 8
	case k.seconds && t.length() > 0:
		return k.precision + 1 + t.length()
	default:
		return k.precision
	}
}

// Scale is how many digits a value has after the point of its number or of its seconds.
func (t Type) Scale() int {
	switch k := kinds[t.kind()]; {
	case t.kind() == kindDecimal:
		return t.length() & 0xFF
	case k.seconds:
		return t.length()
	default:
		return k.scale
	}
}

// Range is the closed interval of an integer type; ok is false for the others.
func (t Type) Range() (low, high int64, ok bool) {
	switch t.kind() {
	case kindBigInt:
		return -1 << 63, 1<<63 - 1, true
	case kindInt:
		return -1 << 31, 1<<31 - 1, true
	case kindSmallInt:
		return -1 << 15, 1<<15 - 1, true
	case kindTinyInt:
		return 0, 1<<8 - 1, true
	}
	return 0, 0, false
}

// IsText reports whether values are Go strings that hold text.
func (t Type) IsText() bool {
	switch t.kind() {
	case kindNVarChar, kindNChar, kindVarChar, kindChar, kindSysname:
		return true
	}
	return false
}

// IsBinary reports whether values are bytes.
func (t Type) IsBinary() bool { return t.kind() == kindVarBinary || t.kind() == kindBinary }

// String is the type as SQL writes it: "bigint", "nvarchar(128)", "varbinary(max)", "decimal(18,2)", "time(7)".
func (t Type) String() string {
	switch k := kinds[t.kind()]; {
	case k.name == "":
		return "invalid"
	case t.kind() == kindDecimal:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision(), t.Scale())
	case k.max && t.length() == maxLength:
		return k.name + "(max)"
	case k.most > 0 || k.seconds:
		return k.name + "(" + strconv.Itoa(t.length()) + ")"
	default:
		return k.name
	}
}

// MarshalText is String.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is Parse.
func (t *Type) UnmarshalText(b []byte) error {
	p, err := Parse(string(b))
	if err == nil {
		*t = p
	}
	return err
}

// Parse reads a type as SQL writes it, in any case. Where nothing stands in parentheses, datetimeoffset, datetime2 and
// time have seven decimals, decimal is decimal(18,0), and char, nchar and binary have the length 1; nvarchar, varchar
// and varbinary need a length or "max".
func Parse(s string) (Type, error) {
	name, arg, hasArg := strings.Cut(Fold(strings.TrimSpace(s)), "(")
	name = strings.TrimSpace(name)
	if hasArg {
		var ok bool
		if arg, ok = strings.CutSuffix(arg, ")"); !ok {
			return 0, fmt.Errorf("SQL type %q: the closing parenthesis is missing", s)
		}
		arg = strings.TrimSpace(arg)
	}
	switch name {
	case "numeric":
		name = "decimal"
	case "float":
		return parseFloatType(s, arg, hasArg)
	}
	for k, info := range kinds {
		if k > 0 && info.name == name {
			return parseChoice(s, typeKind(k), arg, hasArg)
		}
	}
	return 0, fmt.Errorf("SQL type %q is not known", s)
}

// parseChoice reads what stands in the parentheses behind the name of a kind.
func parseChoice(s string, k typeKind, arg string, hasArg bool) (Type, error) {
	info := kinds[k]
	simple := info.most == 0 && info.alone == 0
	switch {
	case !hasArg && k == kindSysname:
		return Sysname, nil
	case !hasArg && simple:
		return Type(k) << 16, nil
	case !hasArg && info.alone == 0:
		return 0, fmt.Errorf("SQL type %q needs a length, as in %s(100) or %s(max)", s, info.name, info.name)
	case !hasArg:
		return info.alone, nil
	case simple:
		return 0, fmt.Errorf("SQL type %q: %s takes no length", s, info.name)
	case k == kindDecimal:
		return parseDecimalType(s, arg)
	case info.max && arg == "max":
		return Type(k)<<16 | maxLength, nil
	}
	least, most := 1, info.most
	if info.seconds {
		least, most = 0, maxScale
	}
	n, ok := parseCount(arg, least, most)
	if !ok {
		return 0, fmt.Errorf("SQL type %q: the length must be a number from %d to %d", s, least, most)
	}
	return Type(k)<<16 | Type(n), nil
}

func parseDecimalType(s, arg string) (Type, error) {
	precision, scale, both := strings.Cut(arg, ",")
	p, ok := parseCount(strings.TrimSpace(precision), 1, maxPrecision)
	if !ok {
		return 0, fmt.Errorf("SQL type %q: the precision must be a number from 1 to %d", s, maxPrecision)
	}
	n := 0
	if both {
		if n, ok = parseCount(strings.TrimSpace(scale), 0, p); !ok {
			return 0, fmt.Errorf("SQL type %q: the scale must be a number from 0 to the precision, %d", s, p)
		}
	}
	return Decimal(p, n), nil
}

// parseFloatType reads float(n): up to 24 bits it is a real.
func parseFloatType(s, arg string, hasArg bool) (Type, error) {
	if !hasArg {
		return Float, nil
	}
	n, ok := parseCount(arg, 1, 53)
	switch {
	case !ok:
		return 0, fmt.Errorf("SQL type %q: the bits must be a number from 1 to 53", s)
	case n <= 24:
		return Real, nil
	}
	return Float, nil
}

func parseCount(s string, least, most int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && least <= n && n <= most && s[0] != '+'
}
