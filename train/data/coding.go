package data

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/graft-onnx/graft/train/config"
)

// A MaskCoding reads masks whose grey or palette values are not the labels.
type MaskCoding interface {
	// Values returns the labels, config.Void for what is no class.
	Values(path string, maxPixels int) (*Mask, error)
}

// values reads a record's mask.
func (r *Record) values(maxPixels int) (*Mask, error) {
	if r.Coding != nil {
		return r.Coding.Values(r.Mask, maxPixels)
	}
	return rawMask(r.Mask, maxPixels)
}

// classes reads a record's mask as classes; table is that of the labels.
func (r *Record) classes(o *Options, table []int32) (*Mask, error) {
	m, err := r.values(o.MaxPixels)
	if err == nil {
		err = m.classify(r.Mask, o.Labels, table)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// idCoding maps the numbers in a mask; what is not in it is an error.
type idCoding struct {
	labels map[uint16]uint16
	known  string // what the numbers are, for errors
}

// cityscapesIDs turns the label ids of Cityscapes into its training classes.
// Ids 0 to 33 and 255, which stands for -1, exist; those that are not trained
// on are ignored.
var cityscapesIDs = func() *idCoding {
	c := &idCoding{map[uint16]uint16{255: config.Void}, "the label ids of Cityscapes, 0 to 33 and 255"}
	for id := range uint16(34) {
		c.labels[id] = config.Void
	}
	for class, id := range []uint16{7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33} {
		c.labels[id] = uint16(class)
	}
	return c
}()

// Values implements MaskCoding.
func (c *idCoding) Values(path string, maxPixels int) (*Mask, error) {
	m, err := rawMask(path, maxPixels)
	if err != nil {
		return nil, err
	}
	for i, v := range m.Pix {
		to, ok := c.labels[v]
		if !ok {
			return nil, &CodeError{path, fmt.Sprintf("number %d", v), i % m.Width, i / m.Width, c.known}
		}
		m.Pix[i] = to
	}
	return m, nil
}

// A CodeError is a mask's number or colour that its format does not know.
type CodeError struct {
	File string
	What string // "number 40", "colour 1,2,3"
	X, Y int    // first pixel that has it
	Want string // what is known
}

// Error implements error.
func (e *CodeError) Error() string {
	return fmt.Sprintf("data: %s: %s at pixel (x %d, y %d) is not among %s", e.File, e.What, e.X, e.Y, e.Want)
}

// colourCoding maps colours to labels.
type colourCoding struct {
	file   string
	labels map[[3]uint8]uint16
}

// Values implements MaskCoding.
func (c *colourCoding) Values(path string, maxPixels int) (*Mask, error) {
	p, err := colourMask(path, maxPixels)
	if err != nil {
		return nil, err
	}
	m := &Mask{p.Width, p.Height, make([]uint16, p.Width*p.Height)}
	var last [3]uint8
	label, known := c.labels[last]
	for i := range m.Pix {
		if at := [3]uint8(p.Pix[3*i:]); at != last {
			last = at
			label, known = c.labels[at]
		}
		if !known {
			return nil, &CodeError{path, fmt.Sprintf("colour %d,%d,%d", last[0], last[1], last[2]), i % m.Width, i / m.Width,
				"the colours of " + c.file + "; add it there, with the name void if it is no class"}
		}
		m.Pix[i] = label
	}
	return m, nil
}

// colourMask reads a mask's colours, from a format that keeps them.
func colourMask(path string, maxPixels int) (*Picture, error) {
	file, err := readFile(path)
	if err != nil {
		return nil, err
	}
	img, format, err := decode(path, file, maxPixels)
	if err != nil {
		return nil, err
	}
	if format == "jpeg" {
		return nil, &DecodeError{path, errLossyMask, remedyLossy}
	}
	return toRGB(img, format), nil
}

// voidNames name rows of a table of colours that are no class.
var voidNames = []string{"", "ignore", "void", "unlabeled", "unlabelled"}

// openColours reads a table of colours: CSV with a header, the columns r, g
// and b, and label (the class, from 0; -1 for none; several colours may share
// one) or name. Without labels the rows that are not named void, ignore or
// unlabelled are numbered in order.
func openColours(path string) (*colourCoding, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: DATASET.mask_colours: %w", err)
	}
	defer f.Close()
	errs := &ListError{File: path}
	c := &colourCoding{path, map[[3]uint8]uint16{}}
	rows := csv.NewReader(io.LimitReader(f, maxLine))
	rows.TrimLeadingSpace, rows.FieldsPerRecord = true, -1
	header, err := rows.Read()
	if err != nil {
		return nil, fmt.Errorf("data: %s: no table of colours: %w", path, err)
	}
	column := func(name string) int {
		return slices.IndexFunc(header, func(s string) bool {
			return strings.EqualFold(strings.TrimSpace(strings.TrimPrefix(s, "\ufeff")), name)
		})
	}
	r, g, b, label, name := column("r"), column("g"), column("b"), column("label"), column("name")
	if r < 0 || g < 0 || b < 0 || label < 0 && name < 0 {
		errs.add(1, "the header must name the columns r, g, b, and label or name")
		return nil, errs
	}
	next := 0
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if bad := (*csv.ParseError)(nil); errors.As(err, &bad) {
			errs.add(bad.Line, "not valid CSV: %v", bad.Err)
			break
		}
		if err != nil {
			return nil, fmt.Errorf("data: %s: %w", path, err)
		}
		line, _ := rows.FieldPos(0)
		if len(row) != len(header) {
			errs.add(line, "%d columns, the header has %d", len(row), len(header))
			continue
		}
		var colour [3]uint8
		ok := true
		for i, at := range []int{r, g, b} {
			v, err := strconv.ParseUint(strings.TrimSpace(row[at]), 10, 8)
			if err != nil {
				errs.add(line, "%s %q is not a number in 0..255", header[at], row[at])
				ok = false
			}
			colour[i] = uint8(v)
		}
		value := config.Void
		switch {
		case label >= 0:
			v, err := strconv.Atoi(strings.TrimSpace(row[label]))
			if err != nil || v < -1 || v >= config.Void {
				errs.add(line, "label %q is not a class number, or -1", row[label])
				ok = false
			} else if v >= 0 {
				value = v
			}
		case !slices.Contains(voidNames, strings.ToLower(strings.TrimSpace(row[name]))):
			value = next
			next++
		}
		if before, twice := c.labels[colour]; twice && before != uint16(value) {
			errs.add(line, "colour %d,%d,%d has two labels", colour[0], colour[1], colour[2])
		} else if ok {
			c.labels[colour] = uint16(value)
		}
	}
	if len(c.labels) == 0 && len(errs.Findings) == 0 {
		errs.add(0, "no colours")
	}
	if err := errs.asError(); err != nil {
		return nil, err
	}
	return c, nil
}
