package data

import (
	"fmt"
	"strings"
)

// A DecodeError is a picture or mask that could not be read.
type DecodeError struct {
	File   string
	Err    error
	Remedy string // "" when there is nothing to say beyond Err
}

// Error implements error.
func (e *DecodeError) Error() string {
	s := fmt.Sprintf("data: %s: cannot be read: %v", e.File, e.Err)
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// A TooLargeError is a picture with more pixels than allowed.
type TooLargeError struct {
	File          string
	Width, Height int
	MaxPixels     int
}

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("data: %s: %d x %d pixels, more than the %d allowed; scale it down or raise DATASET.max_pixels",
		e.File, e.Width, e.Height, e.MaxPixels)
}

// A SizeError is a picture whose mask, or whose entry in the list, has
// another size.
type SizeError struct {
	Image         string
	Width, Height int    // of Image, pixels
	Other         string // the mask, or the list
	OtherWidth    int
	OtherHeight   int
	Remedy        string
}

// Error implements error.
func (e *SizeError) Error() string {
	return fmt.Sprintf("data: %s is %d x %d pixels, but %s says %d x %d; %s",
		e.Image, e.Width, e.Height, e.Other, e.OtherWidth, e.OtherHeight, e.Remedy)
}

// A LabelError is a mask value that is neither a class nor ignored.
type LabelError struct {
	File  string
	Value int // as it stands in the file
	X, Y  int // first pixel that has it
	Rule  Labels
}

// Error implements error.
func (e *LabelError) Error() string {
	low, high := e.Rule.Range()
	s := fmt.Sprintf("data: %s: label %d at pixel (x %d, y %d); allowed are %d..%d for the %d classes",
		e.File, e.Value, e.X, e.Y, low, high, e.Rule.Classes)
	if ignored := e.Rule.ignoredText(); ignored != "" {
		s += " and " + ignored + " for ignored"
	}
	return s + fmt.Sprintf("; set DATASET.num_class, DATASET.label_shift (now %d) or DATASET.ignore_labels", e.Rule.Shift)
}

// An OrientationError is a picture whose EXIF data asks viewers to rotate or
// mirror it, where it is not said what to do about that.
type OrientationError struct {
	File        string
	Orientation int // 2..8
}

// Error implements error.
func (e *OrientationError) Error() string {
	return fmt.Sprintf("data: %s: its EXIF data asks for orientation %d; set DATASET.exif_orientation to apply (masks were drawn on the rotated picture) or to ignore (on the stored pixels)",
		e.File, e.Orientation)
}

// A ListError is a list or a pair of folders that cannot be used. It gathers
// every finding, at most maxFindings of them.
type ListError struct {
	File     string
	Findings []Finding
	More     int // findings left out
}

// A Finding is one thing wrong with a list.
type Finding struct {
	Line int // 1-based; 0 for the list as a whole
	Msg  string
}

const maxFindings = 20

func (e *ListError) add(line int, format string, args ...any) {
	if len(e.Findings) == maxFindings {
		e.More++
		return
	}
	e.Findings = append(e.Findings, Finding{line, fmt.Sprintf(format, args...)})
}

func (e *ListError) asError() error {
	if len(e.Findings) == 0 {
		return nil
	}
	return e
}

// Error implements error, one line per finding.
func (e *ListError) Error() string {
	lines := make([]string, 0, len(e.Findings)+1)
	for _, f := range e.Findings {
		place := e.File
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d", e.File, f.Line)
		}
		lines = append(lines, "data: "+place+": "+f.Msg)
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("data: %s: %d findings more", e.File, e.More))
	}
	return strings.Join(lines, "\n")
}
