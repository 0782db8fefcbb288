package data

import (
	"fmt"
	"slices"
	"strings"
)

// Labels says how mask values become class numbers.
type Labels struct {
	Classes int   // classes 0..Classes-1
	Shift   int   // subtracted from every value; 1 in the reference's convention
	Index   int   // class, after the shift, that is ignored; -1 for none besides -1
	Ignore  []int // values, before the shift, that are ignored
}

// Range returns the lowest and highest mask value that means a class.
func (l Labels) Range() (low, high int) { return max(0, l.Shift), l.Classes - 1 + l.Shift }

// ignoredText lists the mask values that are ignored, "" for none.
func (l Labels) ignoredText() string {
	values := slices.Clone(l.Ignore)
	if v := l.Shift - 1; v >= 0 {
		values = append(values, v)
	}
	if l.Index >= 0 {
		values = append(values, l.Index+l.Shift)
	}
	slices.Sort(values)
	values = slices.Compact(values)
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, ", ")
}

// Class returns the class of a mask value, -1 when it is ignored; ok is false
// when it is neither.
func (l Labels) Class(value int) (class int, ok bool) {
	if slices.Contains(l.Ignore, value) {
		return -1, true
	}
	c := value - l.Shift
	switch {
	case c == -1 || (l.Index >= 0 && c == l.Index):
		return -1, true
	case c < 0 || c >= l.Classes:
		return 0, false
	}
	return c, true
}

// outside marks a table entry that is no label.
const outside = 1<<16 - 1 + 1

// table maps every 16-bit mask value to class+1, 0 for ignored, or outside.
func (l Labels) table() []int32 {
	t := make([]int32, 1<<16)
	for v := range t {
		c, ok := l.Class(v)
		switch {
		case !ok:
			t[v] = outside
		default:
			t[v] = int32(c + 1)
		}
	}
	return t
}
