package models

import (
	"bufio"
	"bytes"
	"fmt"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Class is one kind of thing a network tells apart.
type Class struct {
	Name   string
	Label  int        // value of its pixels in a mask
	Colour color.RGBA // for pictures of the result
}

// Classes are a network's classes in the order of its output channels. Their
// labels count up by one, from 1 (0 is ignored) or from 0.
type Classes []Class

// Limits on a class list. A mask has at most 16 bits a pixel.
const (
	maxClassFile = 4 << 20
	maxLabel     = 1<<16 - 1
)

// ClassesError says what is wrong with a class list.
type ClassesError struct {
	File   string
	Line   int // from 1; 0 when it is about the whole file
	Msg    string
	Remedy string
	Err    error
}

// Error implements error.
func (e *ClassesError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": " + e.Msg)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns what lies below.
func (e *ClassesError) Unwrap() error { return e.Err }

// NamedClasses gives names labels from 1 on, 0 being ignored, and colours.
func NamedClasses(names ...string) Classes {
	c := make(Classes, len(names))
	for i, name := range names {
		c[i] = Class{Name: name, Label: i + 1}
	}
	return c.coloured()
}

// NumberedClasses returns n classes that are called by their number, for want
// of a list. The label of the first is given.
func NumberedClasses(n, first int) Classes {
	c := make(Classes, n)
	for i := range c {
		c[i] = Class{Name: numbered(i), Label: first + i}
	}
	return c.coloured()
}

func numbered(channel int) string { return fmt.Sprintf("class %d", channel) }

// coloured makes up the colours that are not given: a class's place decides,
// black is left out.
func (c Classes) coloured() Classes {
	for i := range c {
		if c[i].Colour.A == 0 {
			c[i].Colour = Colour(i + 1)
		}
	}
	return c
}

// Name returns the name of the class of an output channel; beyond the list,
// its number.
func (c Classes) Name(channel int) string {
	if channel >= 0 && channel < len(c) {
		return c[channel].Name
	}
	return numbered(channel)
}

// Colour returns the colour of the class of an output channel; black for what
// is none, such as -1.
func (c Classes) Colour(channel int) color.RGBA {
	if channel >= 0 && channel < len(c) {
		return c[channel].Colour
	}
	return color.RGBA{A: 0xFF}
}

// CamVid names the eleven classes commonly trained on the Cambridge driving
// scenes, in label order.
var CamVid = NamedClasses("Sky", "Building", "Pole", "Road", "Pavement", "Tree",
	"SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist")

// Names returns the classes' names.
func (c Classes) Names() []string {
	names := make([]string, len(c))
	for i := range c {
		names[i] = c[i].Name
	}
	return names
}

// LoadClasses reads a class list. A .csv file, or one that begins like it, has
// a header that names the columns: name (the only one needed), label (or idx
// or id) and the colour as r, g, b; a row named ignore, void, unlabeled or
// unlabelled is not a class. Any other file has one name a line; empty lines
// and lines that begin with # are skipped. Labels that are not given count
// from 1. The classes come sorted by label. Errors are *ClassesError.
func LoadClasses(path string) (Classes, error) {
	data, err := readClasses(path)
	if err != nil {
		return nil, err
	}
	return ParseClasses(data, path)
}

// LoadDataClasses reads the list of a data set that has n classes, the first
// of them drawn with the mask value first: labels that are not given count
// from there, and lower ones, such as that of an ignored background, are left
// out. The file is as LoadClasses has it. Errors are *ClassesError.
func LoadDataClasses(path string, n, first int) (Classes, error) {
	data, err := readClasses(path)
	if err != nil {
		return nil, err
	}
	return ParseDataClasses(data, path, n, first)
}

func readClasses(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &ClassesError{File: path, Msg: "cannot be read", Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxClassFile+1))
	if err != nil {
		return nil, &ClassesError{File: path, Msg: "cannot be read", Err: err}
	}
	return data, nil
}

// ParseClasses reads the contents of a class list; see LoadClasses. The path
// gives the format and is for errors.
func ParseClasses(data []byte, path string) (Classes, error) {
	classes, lines, err := parse(data, path, 1)
	if err != nil {
		return nil, err
	}
	if first := classes[0].Label; first > 1 {
		return nil, &ClassesError{File: path, Line: lines[0], Msg: fmt.Sprintf("the first label is %d", first),
			Remedy: "labels count from 1, or from 0 where no label is ignored"}
	}
	return classes, nil
}

// ParseDataClasses reads the contents of a class list; see LoadDataClasses.
// The path gives the format and is for errors.
func ParseDataClasses(data []byte, path string, n, first int) (Classes, error) {
	classes, lines, err := parse(data, path, first)
	if err != nil {
		return nil, err
	}
	for len(classes) > 0 && classes[0].Label < first {
		classes, lines = classes[1:], lines[1:]
	}
	switch {
	case len(classes) != n:
		return nil, &ClassesError{File: path, Msg: fmt.Sprintf("names %d classes from label %d on, but there are %d", len(classes), first, n)}
	case n > 0 && classes[0].Label > first:
		return nil, &ClassesError{File: path, Line: lines[0], Msg: fmt.Sprintf("the first label is %d, but the masks' first class has %d", classes[0].Label, first)}
	}
	return classes, nil
}

// parse reads a class list whose labels, where they are not given, count from
// first. The classes, at least one, come sorted; lines are where they stand.
func parse(data []byte, path string, first int) (_ Classes, lines []int, _ error) {
	if len(data) > maxClassFile {
		return nil, nil, &ClassesError{File: path, Msg: fmt.Sprintf("longer than the %d MiB a class list may have", maxClassFile>>20)}
	}
	if !utf8.Valid(data) {
		return nil, nil, &ClassesError{File: path, Msg: "is not UTF-8 text", Remedy: "save the class list as UTF-8"}
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	parse := parseLines
	if strings.EqualFold(filepath.Ext(path), ".csv") || hasHeader(data) {
		parse = parseCSV
	}
	classes, lines, err := parse(data, path, first)
	if err != nil {
		return nil, nil, err
	}
	if len(classes) == 0 {
		return nil, nil, &ClassesError{File: path, Msg: "names no class", Remedy: "write one class name a line"}
	}
	return inOrder(classes, lines, path)
}

// inOrder sorts the classes by label, so that a class's channel is its label
// less the first one's, and refuses labels that occur twice or leave a gap.
// (Names may occur twice: the 150 classes of ADE20K have two screens.)
func inOrder(classes Classes, lines []int, path string) (Classes, []int, error) {
	order := make([]int, len(classes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return classes[a].Label - classes[b].Label })
	sorted, places := make(Classes, len(classes)), make([]int, len(classes))
	for i, from := range order {
		sorted[i], places[i] = classes[from], lines[from]
		switch want := sorted[0].Label + i; {
		case sorted[i].Label < want:
			return nil, nil, &ClassesError{File: path, Line: lines[from], Msg: fmt.Sprintf("label %d is already on line %d", sorted[i].Label, lines[order[i-1]])}
		case sorted[i].Label > want:
			return nil, nil, &ClassesError{File: path, Line: lines[from], Msg: fmt.Sprintf("no class has label %d, but one has %d", want, sorted[i].Label),
				Remedy: "number the classes without gaps"}
		}
	}
	return sorted.coloured(), places, nil
}

func parseLines(data []byte, path string, first int) (Classes, []int, error) {
	var classes Classes
	var lines []int
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, maxClassFile+1)
	for line := 1; s.Scan(); line++ {
		name := strings.TrimSpace(s.Text())
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if len(classes) == maxLabel {
			return nil, nil, &ClassesError{File: path, Line: line, Msg: fmt.Sprintf("more than %d classes", maxLabel)}
		}
		classes, lines = append(classes, Class{Name: name, Label: first + len(classes)}), append(lines, line)
	}
	if err := s.Err(); err != nil {
		return nil, nil, &ClassesError{File: path, Msg: "cannot be read", Err: err}
	}
	return classes, lines, nil
}
