package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// value is what a file or a command line says for one key: a scalar's text or
// a list of them.
type value struct {
	text string
	list []string
	many bool
	node *yaml.Node // as it stands in the file; nil from a command line
}

func scalar(s string) value { return value{text: s} }

// value takes a key's value from the file; lists of mappings are left for set.
func (l *leaf) value(n *yaml.Node) (value, error) {
	switch l.field.Interface().(type) {
	case []Step, []Loss:
		if n.Kind != yaml.ScalarNode {
			return value{node: n}, nil
		}
	}
	return fromNode(n)
}

func fromNode(n *yaml.Node) (value, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return value{}, nil
		}
		return scalar(n.Value), nil
	case yaml.SequenceNode:
		v := value{many: true}
		for _, e := range n.Content {
			if e.Kind != yaml.ScalarNode {
				return v, fmt.Errorf("want a flat list, found %s inside", kindName(e))
			}
			v.list = append(v.list, e.Value)
		}
		return v, nil
	}
	return value{}, fmt.Errorf("want a value, found %s", kindName(n))
}

// elements splits a list: a YAML list, a tuple (1, 2,), [1, 2] or one value.
func (v value) elements() ([]string, error) {
	if v.many {
		return v.list, nil
	}
	s := strings.TrimSpace(v.text)
	if s == "" {
		return nil, nil
	}
	open, close := s[0], s[len(s)-1]
	switch {
	case open == '(' && close == ')' && len(s) > 1, open == '[' && close == ']' && len(s) > 1:
		s = strings.TrimSpace(s[1 : len(s)-1])
	case strings.ContainsAny(s, "()[]"):
		return nil, fmt.Errorf("unbalanced brackets in %q; write (300, 375)", shorten(v.text))
	}
	if s == "" {
		return nil, nil
	}
	parts := strings.Split(s, ",")
	if len(parts) > 1 && strings.TrimSpace(parts[len(parts)-1]) == "" {
		parts = parts[:len(parts)-1] // Python's one-element tuple (600,)
	}
	for i := range parts {
		if parts[i] = strings.TrimSpace(parts[i]); parts[i] == "" {
			return nil, fmt.Errorf("an empty element in %q", shorten(v.text))
		}
	}
	return parts, nil
}

// leaf is one key of the configuration.
type leaf struct {
	key   string
	field reflect.Value
}

type leafSet struct {
	order    []*leaf
	byKey    map[string]*leaf
	sections map[string]bool
}

func leaves(c *Config) *leafSet {
	s := &leafSet{byKey: map[string]*leaf{}, sections: map[string]bool{}}
	s.walk("", reflect.ValueOf(c).Elem())
	return s
}

func (s *leafSet) walk(prefix string, v reflect.Value) {
	t := v.Type()
	for i := 0; i < t.NumField(); i++ {
		if !t.Field(i).IsExported() {
			continue
		}
		key := prefix + t.Field(i).Tag.Get("yaml")
		if v.Field(i).Kind() == reflect.Struct {
			s.sections[key] = true
			s.walk(key+".", v.Field(i))
			continue
		}
		l := &leaf{key, v.Field(i)}
		s.order = append(s.order, l)
		s.byKey[key] = l
	}
}

// Keys lists every key in the order YAML writes them.
func Keys() []string {
	var out []string
	for _, l := range leaves(Default()).order {
		out = append(out, l.key)
	}
	return out
}

// suggest names the nearest known key, or the sections when none is near.
func (s *leafSet) suggest(key string) string {
	best, at := "", math.MaxInt
	names := make([]string, 0, len(s.byKey)+len(s.sections))
	for k := range s.byKey {
		names = append(names, k)
	}
	for k := range s.sections {
		names = append(names, k)
	}
	sort.Strings(names)
	if len(key) > 100 {
		key = key[:100]
	}
	for _, k := range names {
		d := distance(strings.ToLower(key), strings.ToLower(k))
		// A key put outside its section: NUM_CLASS for DATASET.num_class.
		if tail := k[strings.LastIndex(k, ".")+1:]; strings.EqualFold(key[strings.LastIndex(key, ".")+1:], tail) {
			d = min(d, 1)
		}
		if d < at {
			best, at = k, d
		}
	}
	if at <= max(2, len(key)/3) {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return "; the sections are DATASET, MODEL, TRAIN, VAL and TEST, and DIR stands alone"
}

// distance is the Levenshtein distance of two short strings.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diag
			if a[i-1] != b[j-1] {
				cost++
			}
			diag = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

func (l *leaf) set(v value) error {
	switch p := l.field.Addr().Interface().(type) {
	case *string:
		if v.many {
			return errors.New("want one value, found a list")
		}
		if !utf8.ValidString(v.text) {
			return fmt.Errorf("%q is not valid UTF-8", shorten(v.text))
		}
		*p = v.text
	case *int:
		return one(v, parseInt, p)
	case *float64:
		return one(v, parseFloat, p)
	case *bool:
		return one(v, parseBool, p)
	case *[]int:
		return each(v, parseInt, p)
	case *[]float64:
		return each(v, parseFloat, p)
	case *[]string:
		return each(v, parseString, p)
	case *[]Loss:
		losses, err := parseLosses(v)
		if err == nil {
			*p = losses
		}
		return err
	case *[]Step:
		steps, err := parseSteps(v)
		if err == nil {
			*p = steps
		}
		return err
	default:
		return fmt.Errorf("cannot set a field of type %T", p)
	}
	return nil
}

func one[T any](v value, parse func(string) (T, error), into *T) error {
	if v.many {
		return errors.New("want one value, found a list")
	}
	x, err := parse(strings.TrimSpace(v.text))
	if err == nil {
		*into = x
	}
	return err
}

func each[T any](v value, parse func(string) (T, error), into *[]T) error {
	parts, err := v.elements()
	if err != nil {
		return err
	}
	out := make([]T, 0, len(parts))
	for _, part := range parts {
		x, err := parse(part)
		if err != nil {
			return err
		}
		out = append(out, x)
	}
	*into = out
	return nil
}

func parseInt(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || int64(int(n)) != n {
		return 0, fmt.Errorf("want a whole number, found %q", shorten(s))
	}
	return int(n), nil
}

func parseFloat(s string) (float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("want a number, found %q", shorten(s))
	}
	return x, nil
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("want True or False, found %q", shorten(s))
}

func parseString(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%q is not valid UTF-8", shorten(s))
	}
	return s, nil
}
