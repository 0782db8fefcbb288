package data

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

// Classes names and colours the classes 0..len(Names)-1.
type Classes struct {
	Names  []string
	Colors []color.RGBA
}

// DefaultClasses names classes by number and gives each a colour of its own.
func DefaultClasses(n int) *Classes {
	c := &Classes{make([]string, n), make([]color.RGBA, n)}
	for i := range n {
		c.Names[i] = fmt.Sprintf("class %d", i)
		c.Colors[i] = spread(i)
	}
	return c
}

// spread places hues a golden angle apart, so that any first n differ well,
// and varies lightness between turns.
func spread(i int) color.RGBA {
	hue := math.Mod(float64(i)*0.618033988749895+0.58, 1) * 6
	value := []float64{0.90, 0.65, 0.80}[i%3]
	saturation := []float64{0.75, 0.85, 0.55}[(i/3)%3]
	channel := func(offset float64) uint8 {
		k := math.Mod(offset+hue, 6)
		return uint8(255*(value-value*saturation*max(0, min(k, 4-k, 1))) + 0.5)
	}
	return color.RGBA{channel(5), channel(3), channel(1), 255}
}

// Name returns a class's name.
func (c *Classes) Name(class int) string {
	if c != nil && class >= 0 && class < len(c.Names) {
		return c.Names[class]
	}
	return fmt.Sprintf("class %d", class)
}

// Color returns a class's colour; black for what is none.
func (c *Classes) Color(class int) color.RGBA {
	if c != nil && class >= 0 && class < len(c.Colors) {
		return c.Colors[class]
	}
	return color.RGBA{A: 255}
}

// LoadClasses reads the classes of n from a file:
//
//   - CSV with a header that has name, and perhaps label (or Idx) and r, g, b:
//     label is the mask value, so shift is subtracted from it, and values
//     below the first class are left out;
//   - otherwise one name a line, in order.
//
// Colours the file does not give are made up.
func LoadClasses(path string, n, shift int) (*Classes, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: classes: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLine+1))
	if err != nil {
		return nil, fmt.Errorf("data: classes: %w", err)
	}
	if len(b) > maxLine {
		return nil, fmt.Errorf("data: classes: %s: more than %d bytes", path, maxLine)
	}
	return ParseClasses(b, path, n, shift)
}

// ParseClasses is LoadClasses on bytes; path names them in errors.
func ParseClasses(b []byte, path string, n, shift int) (*Classes, error) {
	c := DefaultClasses(n)
	errs := &ListError{File: path}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	first, _, _ := strings.Cut(string(b), "\n")
	if columns := headerColumns(first); columns != nil {
		c.readCSV(b, columns, shift, errs)
	} else {
		c.readLines(string(b), errs)
	}
	if err := errs.asError(); err != nil {
		return nil, err
	}
	return c, nil
}

// headerColumns maps known column names to positions, nil without a name.
func headerColumns(line string) map[string]int {
	fields, err := csv.NewReader(strings.NewReader(line)).Read()
	if err != nil || len(fields) < 2 {
		return nil
	}
	at := map[string]int{}
	for i, f := range fields {
		name := strings.ToLower(strings.TrimSpace(f))
		if name == "idx" || name == "id" {
			name = "label"
		}
		at[name] = i
	}
	if _, ok := at["name"]; !ok {
		return nil
	}
	return at
}

func (c *Classes) readCSV(b []byte, at map[string]int, shift int, errs *ListError) {
	in := csv.NewReader(bytes.NewReader(b))
	in.FieldsPerRecord = -1
	in.Read() // the header, read before
	seen := map[int]int{}
	row := 0
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			errs.add(0, "%v", err)
			return
		}
		line, _ := in.FieldPos(0)
		field := func(name string) (string, bool) {
			i, ok := at[name]
			if !ok || i >= len(fields) {
				return "", false
			}
			return strings.TrimSpace(fields[i]), true
		}
		class := row
		row++
		if text, ok := field("label"); ok {
			v, err := strconv.Atoi(text)
			if err != nil {
				errs.add(line, "label %q is not a number", text)
				continue
			}
			class = v - shift
		}
		name, ok := field("name")
		switch {
		case class < 0:
			continue // the ignored label
		case !ok || name == "":
			errs.add(line, "the name is missing")
			continue
		case class >= len(c.Names):
			errs.add(line, "%s is class %d, but there are %d classes", name, class, len(c.Names))
			continue
		}
		if other, twice := seen[class]; twice {
			errs.add(line, "class %d again, first on line %d", class, other)
			continue
		}
		seen[class] = line
		c.Names[class] = name
		var rgb [3]uint8
		given := true
		for i, k := range []string{"r", "g", "b"} {
			text, ok := field(k)
			if !ok || text == "" {
				given = false
				break
			}
			v, err := strconv.ParseUint(text, 10, 8)
			if err != nil {
				errs.add(line, "%s %q is not a number from 0 to 255", k, text)
			}
			rgb[i] = uint8(v)
		}
		if given {
			c.Colors[class] = color.RGBA{rgb[0], rgb[1], rgb[2], 255}
		}
	}
	if len(seen) < len(c.Names) && len(errs.Findings) == 0 {
		errs.add(0, "names %d classes, but there are %d", len(seen), len(c.Names))
	}
}

func (c *Classes) readLines(text string, errs *ListError) {
	i := 0
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if i >= len(c.Names) {
			errs.add(n+1, "%s is class %d, but there are %d classes", line, i, len(c.Names))
			i++
			continue
		}
		c.Names[i] = line
		i++
	}
	if i < len(c.Names) {
		errs.add(0, "names %d classes, but there are %d", i, len(c.Names))
	}
}

// Write writes the classes as CSV with mask values, the ignored one first
// where shift leaves room for it.
func (c *Classes) Write(w io.Writer, shift int) error {
	out := csv.NewWriter(w)
	out.Write([]string{"label", "name", "r", "g", "b"}) // Flush and Error tell the first error
	if shift > 0 {
		out.Write([]string{strconv.Itoa(shift - 1), "ignore", "0", "0", "0"})
	}
	for i, name := range c.Names {
		k := c.Color(i)
		out.Write([]string{strconv.Itoa(i + shift), name, strconv.Itoa(int(k.R)), strconv.Itoa(int(k.G)), strconv.Itoa(int(k.B))})
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("data: classes: %w", err)
	}
	return nil
}
