package sqltype

import "testing"

// The shapes of names: what folds to itself, what needs a copy, and what the table is asked for.
var benchNames = []struct{ name, a, b string }{
	{"folded", "0f8fad5b-etl-nightly", "0f8fad5b-etl-nightly"},
	{"case", "Nightly Load Of Sales", "nightly load of sales"},
	{"Latin", "Überladung Verkäufe", "überladung verkäufe"},
	{"Greek", "Φόρτωση Πωλήσεων", "φόρτωση πωλήσεων"},
	{"other", "Nightly Load Of Sales", "nightly load of stock"},
}

func BenchmarkFold(b *testing.B) {
	for _, c := range benchNames {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Fold(c.a)
			}
		})
	}
}

func BenchmarkEqual(b *testing.B) {
	for _, c := range benchNames {
		b.Run(c.name, func(b *testing.B) {
			var x, y any = c.a, c.b
			b.ReportAllocs()
			for b.Loop() {
				Equal(x, y)
			}
		})
	}
}

func BenchmarkCompare(b *testing.B) {
	for _, c := range benchNames {
		b.Run(c.name, func(b *testing.B) {
			var x, y any = c.a, c.b
			b.ReportAllocs()
			for b.Loop() {
				Compare(x, y)
			}
		})
	}
}
