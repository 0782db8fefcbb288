package config

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/graft-onnx/graft/internal/atomicfile"
)

// YAML writes the settings in the reference's style, every key present;
// Parse reads it back to the same Config.
func (c *Config) YAML() []byte {
	var b bytes.Buffer
	section := ""
	for _, l := range leaves(c).order {
		head, key, nested := strings.Cut(l.key, ".")
		if !nested {
			head, key = "", l.key
		}
		if head != section {
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
			if section = head; head != "" {
				fmt.Fprintf(&b, "%s:\n", head)
			}
		}
		if nested {
			b.WriteString("  ")
		}
		fmt.Fprintf(&b, "%s: %s\n", key, l.format())
	}
	return b.Bytes()
}

// Save writes YAML to path; the file appears complete or not at all.
func (c *Config) Save(path string) error {
	if err := atomicfile.WriteBytes(path, c.YAML()); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// Change is a key whose value differs between two configurations, with the
// values as YAML writes them.
type Change struct{ Key, From, To string }

// Changes lists the keys whose values differ, in the order of the file.
func Changes(from, to *Config) []Change {
	var out []Change
	after := leaves(to).order
	for i, l := range leaves(from).order {
		if a, b := l.format(), after[i].format(); a != b {
			out = append(out, Change{l.key, a, b})
		}
	}
	return out
}

// format is the key's value as text that set reads back.
func (l *leaf) format() string {
	switch v := l.field.Interface().(type) {
	case string:
		return quote(v)
	case int:
		return strconv.Itoa(v)
	case float64:
		return formatFloat(v)
	case bool:
		if v {
			return "True"
		}
		return "False"
	case []int:
		return tuple(v, strconv.Itoa)
	case []float64:
		return tuple(v, formatFloat)
	case []Step:
		return formatSteps(v)
	case []string:
		return list(v, quote)
	case []Loss:
		return formatLosses(v)
	}
	return ""
}

func formatFloat(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func tuple[T any](list []T, format func(T) string) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = format(v)
	}
	if len(parts) == 1 {
		return "(" + parts[0] + ",)"
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

// list writes a YAML list, which unlike a tuple may hold quoted text.
func list[T any](v []T, format func(T) string) string {
	parts := make([]string, len(v))
	for i, x := range v {
		parts[i] = format(x)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// quote is a YAML double-quoted scalar. JSON's escapes are a subset of YAML's,
// and Go's \x and \U forms mean the same there.
func quote(s string) string { return strconv.QuoteToASCII(s) }
