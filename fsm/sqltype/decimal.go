package sqltype

import (
	"cmp"
	"strings"
)

// DecimalValue is an exact number in its one spelling: a minus if it is below zero, no needless zero before the point
// ("0.5"), and after it as many digits as the scale of its type. Values of one type are equal if their texts are.
type DecimalValue string

// The bounds of money and smallmoney.
const (
	moneyHigh, moneyLow           DecimalValue = "922337203685477.5807", "-922337203685477.5808"
	smallMoneyHigh, smallMoneyLow DecimalValue = "214748.3647", "-214748.3648"
)

// decimalLimits are the smallest and the largest value of decimal, money and smallmoney.
func decimalLimits(t Type) (low, high DecimalValue) {
	switch t.kind() {
	case kindMoney:
		return moneyLow, moneyHigh
	case kindSmallMoney:
		return smallMoneyLow, smallMoneyHigh
	}
	nines := strings.Repeat("9", t.Precision())
	high, _ = scaled(nines[:t.Precision()-t.Scale()], nines[:t.Scale()], false, t.Scale())
	return "-" + high, high
}

// parseDecimal reads digits with a point or without, and perhaps a minus. Digits that the type has no place for must be
// zeros: nothing is rounded.
func parseDecimal(t Type, text string) (any, error) {
	if v, ok := splitDecimal(text, t.Scale()); ok {
		if low, high := decimalLimits(t); compareDecimals(string(v), string(low)) >= 0 &&
			compareDecimals(string(v), string(high)) <= 0 {
			return v, nil
		}
	}
	return nil, misfit(t, text, wanted(t))
}

func splitDecimal(text string, scale int) (DecimalValue, bool) {
	digits, negative := strings.CutPrefix(text, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if whole+fraction == "" || point && fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return "", false
	}
	return scaled(whole, fraction, negative, scale)
}

// scaled is the spelling of a number with scale digits after the point; false if that needs rounding.
func scaled(whole, fraction string, negative bool, scale int) (DecimalValue, bool) {
	whole = strings.TrimLeft(whole, "0")
	if len(fraction) > scale {
		if strings.Trim(fraction[scale:], "0") != "" {
			return "", false
		}
		fraction = fraction[:scale]
	}
	fraction += strings.Repeat("0", scale-len(fraction))
	negative = negative && strings.Trim(whole+fraction, "0") != ""
	if whole == "" {
		whole = "0"
	}
	if scale > 0 {
		whole += "." + fraction
	}
	if negative {
		whole = "-" + whole
	}
	return DecimalValue(whole), true
}

// compareDecimals orders two numbers without exponents by their value, whatever their scales.
func compareDecimals(a, b string) int {
	x, minusX := strings.CutPrefix(a, "-")
	y, minusY := strings.CutPrefix(b, "-")
	c := compareDigits(x, y)
	switch {
	case minusX && minusY:
		return -c
	case minusX != minusY && strings.Trim(x+y, "0.") == "":
		return 0 // 0 and -0
	case minusX:
		return -1
	case minusY:
		return 1
	}
	return c
}

func compareDigits(a, b string) int {
	wholeA, fractionA, _ := strings.Cut(a, ".")
	wholeB, fractionB, _ := strings.Cut(b, ".")
	wholeA, wholeB = strings.TrimLeft(wholeA, "0"), strings.TrimLeft(wholeB, "0")
	return cmp.Or(cmp.Compare(len(wholeA), len(wholeB)), strings.Compare(wholeA, wholeB),
		strings.Compare(strings.TrimRight(fractionA, "0"), strings.TrimRight(fractionB, "0")))
}
