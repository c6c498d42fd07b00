// Command promql reads what Prometheus would read, for tests that must not bring its modules into the program's own.
//
//	promql FILE...     checks files of rules as Prometheus does when it loads them
//	promql < EXPRS     reads a JSON list of expressions and writes, for each, its selectors or what is wrong with it
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// expression is the answer about one expression.
type expression struct {
	Error     string     `json:"error,omitempty"`
	Selectors []selector `json:"selectors,omitempty"`
}

// selector is a metric's name and what is asked of its labels.
type selector struct {
	Name     string    `json:"name"`
	Matchers []matcher `json:"matchers"`
}

type matcher struct {
	Name  string `json:"name"`
	Type  string `json:"type"` // = != =~ !~
	Value string `json:"value"`
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(files []string, in io.Reader, out io.Writer) error {
	if len(files) > 0 {
		return check(files)
	}
	var list []string
	if err := json.NewDecoder(in).Decode(&list); err != nil {
		return fmt.Errorf("a JSON list of expressions was expected: %w", err)
	}
	answers := make([]expression, len(list))
	for i, text := range list {
		answers[i] = read(text)
	}
	return json.NewEncoder(out).Encode(answers)
}

func check(files []string) error {
	for _, name := range files {
		if _, errs := rulefmt.ParseFile(name, false); len(errs) > 0 {
			return fmt.Errorf("%s: %w", name, errs[0])
		}
	}
	return nil
}

func read(text string) expression {
	parsed, err := parser.ParseExpr(text)
	if err != nil {
		return expression{Error: err.Error()}
	}
	var out expression
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			s := selector{Name: v.Name}
			for _, m := range v.LabelMatchers {
				s.Matchers = append(s.Matchers, matcher{Name: m.Name, Type: m.Type.String(), Value: m.Value})
			}
			out.Selectors = append(out.Selectors, s)
		}
		return nil
	})
	return out
}
