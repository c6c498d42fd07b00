package testcluster_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var (
	documentLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inlineCode   = regexp.MustCompile("`[^`\n]*`")
	fencedCode   = regexp.MustCompile("(?s)\n```.*?\n```")
	heading      = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// TestDocumentLinksLeadSomewhere follows every link within the repository: the file is there, and so is the heading.
func TestDocumentLinksLeadSomewhere(t *testing.T) {
	followed, documents := 0, allDocuments(t)
	for _, path := range documents {
		text := inlineCode.ReplaceAllString(prose(t, path), "")
		for _, m := range documentLink.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			followed++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
				continue
			}
			if anchor != "" && !anchors(prose(t, target))[anchor] {
				t.Errorf("%s links to %s: %s has no such heading", path, m[1], target)
			}
		}
	}
	if followed < 50 {
		t.Errorf("only %d links were found in %d documents", followed, len(documents))
	}
}

// TestNoLineStandsTwice finds what a merge has doubled: no long line of prose stands twice in one document. Tables,
// code and the documents that are generated as a whole may repeat themselves.
func TestNoLineStandsTwice(t *testing.T) {
	const long = 60 // characters
	looked := 0
	for _, path := range allDocuments(t) {
		text := prose(t, path)
		if strings.HasPrefix(text, "\n<!-- Generated") {
			continue
		}
		seen := map[string]bool{}
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if utf8.RuneCountInString(line) <= long || strings.HasPrefix(line, "|") {
				continue
			}
			looked++
			if seen[line] {
				t.Errorf("%s has this line twice: %s", path, line)
			}
			seen[line] = true
		}
	}
	if looked < 1000 {
		t.Errorf("only %d long lines were found", looked)
	}
}

// allDocuments are the paths of the documents at the top and below docs.
func allDocuments(t *testing.T) []string {
	t.Helper()
	documents, _ := filepath.Glob("../*.md")
	err := filepath.WalkDir("../docs", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".md") {
			documents = append(documents, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return documents
}

// prose is a document without its blocks of code.
func prose(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fencedCode.ReplaceAllString("\n"+string(raw), "")
}

// anchors are the names that a document's headings get: lower case, without punctuation, a hyphen for each blank.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		names[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])] = true
	}
	return names
}
