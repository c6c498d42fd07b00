package ispac

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// eachProperty visits the Property elements of e, each name once.
func eachProperty(e element, visit func(name string, e element) error) error {
	var seen []string
	return e.children(func(e element) error {
		if e.name() != "Property" {
			return nil
		}
		name, err := e.required("Name")
		if err != nil {
			return err
		}
		if slices.Contains(seen, name) {
			return e.doc.bad("the property %s stands there twice", clip(name))
		}
		if len(seen) == 256 {
			return e.doc.bad("an element has more than 256 properties")
		}
		seen = append(seen, name)
		return visit(name, e)
	})
}

// The readers of single properties. An encrypted property other than a value
// is read like a plain one when there is a password.

func (e element) into(s *string) error {
	e, err := e.opened()
	if err != nil {
		return err
	}
	*s, err = e.text()
	return err
}

func (e element) readNumber(n *int) error {
	var text string
	name, _ := e.attr("Name")
	if err := e.into(&text); err != nil || text == "" {
		return err
	}
	v, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return e.doc.bad("the property %s is %s, not a 32-bit number", clip(name), clip(text))
	}
	*n = int(v)
	return nil
}

func (e element) guid(s *string) error {
	var text string
	name, _ := e.attr("Name")
	err := e.into(&text)
	if text = strings.TrimSpace(text); err != nil || text == "" {
		return err
	}
	if *s, err = parseGUID(text); err != nil {
		return e.doc.bad("the property %s: %v", clip(name), err)
	}
	return nil
}

func (e element) flag(b *bool) error {
	var text string
	name, _ := e.attr("Name")
	if err := e.into(&text); err != nil || text == "" {
		return err
	}
	v, err := parseFlag(strings.TrimSpace(text))
	if *b = v; err != nil {
		return e.doc.bad("the property %s: %v", clip(name), err)
	}
	return nil
}

func parseFlag(text string) (bool, error) {
	switch text {
	case "0", "false", "False":
		return false, nil
	case "1", "true", "True":
		return true, nil
	}
	return false, fmt.Errorf("%s is neither 0 nor 1", clip(text))
}
