package models

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
		c[i] = Class{Name: name, Label: i + 1, Colour: Colour(i + 1)}
	}
	return c
}

// Built-in class lists.
var (
	// CamVid names the eleven classes commonly trained on the Cambridge
	// driving scenes, in label order.
	CamVid = NamedClasses("Sky", "Building", "Pole", "Road", "Pavement", "Tree",
		"SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist")
	// Demo names what the generated pictures of the demonstration show.
	Demo = NamedClasses("ground", "disc", "square", "triangle")
)

// Names returns the classes' names.
func (c Classes) Names() []string {
	names := make([]string, len(c))
	for i := range c {
		names[i] = c[i].Name
	}
	return names
}

// Palette returns the classes' colours.
func (c Classes) Palette() color.Palette {
	p := make(color.Palette, len(c))
	for i := range c {
		p[i] = c[i].Colour
	}
	return p
}

// LoadClasses reads a class list. A .csv file has a header that names the
// columns: name (the only one needed), label (or idx) and the colour as r, g,
// b; a row named ignore, void, unlabeled or unlabelled is not a class. Any
// other file has one name a line; empty lines and lines that begin with # are
// skipped. Labels that are not given count from 1. The classes come sorted by
// label. Errors are *ClassesError.
func LoadClasses(path string) (Classes, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &ClassesError{File: path, Msg: "cannot be read", Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxClassFile+1))
	if err != nil {
		return nil, &ClassesError{File: path, Msg: "cannot be read", Err: err}
	}
	return ParseClasses(data, path)
}

// ParseClasses reads the contents of a class list; see LoadClasses. The path
// gives the format and is for errors.
func ParseClasses(data []byte, path string) (Classes, error) {
	if len(data) > maxClassFile {
		return nil, &ClassesError{File: path, Msg: fmt.Sprintf("longer than the %d MiB a class list may have", maxClassFile>>20)}
	}
	if !utf8.Valid(data) {
		return nil, &ClassesError{File: path, Msg: "is not UTF-8 text", Remedy: "save the class list as UTF-8"}
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	parse := parseLines
	if strings.EqualFold(filepath.Ext(path), ".csv") {
		parse = parseCSV
	}
	classes, lines, err := parse(data, path)
	if err != nil {
		return nil, err
	}
	if len(classes) == 0 {
		return nil, &ClassesError{File: path, Msg: "names no class", Remedy: "write one class name a line"}
	}
	return inOrder(classes, lines, path)
}

// inOrder sorts the classes by label, so that a class's channel is its label
// less the first one's, and refuses labels that occur twice or leave a gap.
// (Names may occur twice: the 150 classes of ADE20K have two screens.)
func inOrder(classes Classes, lines []int, path string) (Classes, error) {
	order := make([]int, len(classes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return classes[a].Label - classes[b].Label })
	sorted := make(Classes, len(classes))
	for i, from := range order {
		sorted[i] = classes[from]
		first := sorted[0].Label
		switch want := first + i; {
		case first > 1:
			return nil, &ClassesError{File: path, Line: lines[from], Msg: fmt.Sprintf("the first label is %d", first),
				Remedy: "labels count from 1, or from 0 where no label is ignored"}
		case sorted[i].Label < want:
			return nil, &ClassesError{File: path, Line: lines[from], Msg: fmt.Sprintf("label %d is already on line %d", sorted[i].Label, lines[order[i-1]])}
		case sorted[i].Label > want:
			return nil, &ClassesError{File: path, Line: lines[from], Msg: fmt.Sprintf("no class has label %d, but one has %d", want, sorted[i].Label),
				Remedy: "number the classes without gaps"}
		}
	}
	return sorted, nil
}

func parseLines(data []byte, path string) (Classes, []int, error) {
	var names []string
	var lines []int
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, maxClassFile+1)
	for line := 1; s.Scan(); line++ {
		name := strings.TrimSpace(s.Text())
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if len(names) == maxLabel {
			return nil, nil, &ClassesError{File: path, Line: line, Msg: fmt.Sprintf("more than %d classes", maxLabel)}
		}
		names, lines = append(names, name), append(lines, line)
	}
	if err := s.Err(); err != nil {
		return nil, nil, &ClassesError{File: path, Msg: "cannot be read", Err: err}
	}
	return NamedClasses(names...), lines, nil
}

// ignored are names of what is no class.
var ignored = map[string]bool{"ignore": true, "void": true, "unlabeled": true, "unlabelled": true}

func parseCSV(data []byte, path string) (Classes, []int, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.TrimLeadingSpace = true
	r.Comment = '#'
	fail := func(line int, err error) (Classes, []int, error) {
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			return nil, nil, &ClassesError{File: path, Line: syntax.Line, Msg: "is not valid CSV", Err: syntax.Err}
		}
		return nil, nil, &ClassesError{File: path, Line: line, Msg: "is not a row of classes", Err: err}
	}
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil, nil
	}
	if err != nil {
		return fail(1, err)
	}
	columns := map[string]int{}
	for i, title := range header {
		columns[strings.ToLower(strings.TrimSpace(title))] = i
	}
	row := csvRow{columns: columns}
	if _, ok := columns["name"]; !ok {
		return nil, nil, &ClassesError{File: path, Line: 1, Msg: "has no column called name",
			Remedy: "begin with a header such as label,name,r,g,b, or use a .txt file of one name a line"}
	}
	var classes Classes
	var lines []int
	for {
		row.fields, err = r.Read()
		if errors.Is(err, io.EOF) {
			return classes, lines, nil
		}
		line, _ := r.FieldPos(0)
		if err != nil {
			return fail(line, err)
		}
		if ignored[strings.ToLower(row.text("name"))] {
			continue
		}
		class, err := row.class(len(classes))
		if err != nil {
			return fail(line, err)
		}
		classes, lines = append(classes, class), append(lines, line)
	}
}

// csvRow reads fields of a row by their column's title.
type csvRow struct {
	columns map[string]int
	fields  []string
}

func (r csvRow) text(title string) string {
	if i, ok := r.columns[title]; ok {
		return strings.TrimSpace(r.fields[i])
	}
	return ""
}

// number returns the first of the columns that exists.
func (r csvRow) number(max int, titles ...string) (n int, found bool, err error) {
	for _, title := range titles {
		text := r.text(title)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > max {
			return 0, false, fmt.Errorf("%s is %q, not a whole number from 0 to %d", title, text, max)
		}
		return n, true, nil
	}
	return 0, false, nil
}

// class reads the row of the class that has the given place in the list.
func (r csvRow) class(place int) (Class, error) {
	c := Class{Name: r.text("name")}
	if c.Name == "" {
		return c, errors.New("the name is empty")
	}
	label, found, err := r.number(maxLabel, "label", "idx")
	if err != nil {
		return c, err
	}
	if !found {
		label = place + 1
	}
	c.Label, c.Colour = label, Colour(label)
	var rgb [3]uint8
	for i, title := range []string{"r", "g", "b"} {
		v, found, err := r.number(255, title)
		if err != nil {
			return c, err
		}
		if !found {
			return c, nil
		}
		rgb[i] = uint8(v)
	}
	c.Colour = color.RGBA{R: rgb[0], G: rgb[1], B: rgb[2], A: 0xFF}
	return c, nil
}
