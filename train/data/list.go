package data

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// listLine is one line of an .odgt list.
type listLine struct {
	Image  *string      `json:"fpath_img"`
	Mask   *string      `json:"fpath_segm"`
	Width  *json.Number `json:"width"`
	Height *json.Number `json:"height"`
}

// maxLine bounds a line of a list, maxRecords a list.
const (
	maxLine    = 1 << 20
	maxRecords = 10_000_000
)

// OpenList reads an .odgt list: one JSON object a line with fpath_img,
// fpath_segm, width and height. Paths are relative to root. fpath_segm may be
// missing for prediction; width and height, for Measure to fill in.
func OpenList(path, root string) (*Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: list: %w", err)
	}
	defer f.Close()
	return ReadList(f, path, root)
}

// ReadList is OpenList on a reader; name names it in errors.
func ReadList(r io.Reader, name, root string) (*Set, error) {
	set := &Set{Name: name}
	errs := &ListError{File: name}
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, maxLine)
	line := 0
	for scan.Scan() {
		line++
		text := bytes.TrimSpace(scan.Bytes())
		if line == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		if len(text) == 0 {
			continue
		}
		rec, err := parseLine(text, root)
		if err != nil {
			errs.add(line, "%v", err)
			continue
		}
		if len(set.Records) == maxRecords {
			errs.add(line, "more than %d records", maxRecords)
			break
		}
		rec.Line = line
		set.Records = append(set.Records, rec)
	}
	if err := scan.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("a line of more than %d bytes; is this an .odgt list?", maxLine)
		}
		errs.add(line+1, "%v", err)
	} else if len(set.Records) == 0 && len(errs.Findings) == 0 {
		errs.add(0, "empty; it names no picture")
	}
	if err := errs.asError(); err != nil {
		return nil, err
	}
	return set, nil
}

func parseLine(text []byte, root string) (Record, error) {
	var l listLine
	if err := json.Unmarshal(text, &l); err != nil {
		return Record{}, fmt.Errorf(`not a JSON object such as {"fpath_img": "a.jpg", "fpath_segm": "a.png", "width": 480, "height": 360}: %v`, err)
	}
	if l.Image == nil || *l.Image == "" {
		return Record{}, errors.New("fpath_img is missing")
	}
	rec := Record{Name: *l.Image, Image: join(root, *l.Image)}
	if l.Mask != nil && *l.Mask != "" {
		rec.Mask = join(root, *l.Mask)
	}
	if strings.ContainsRune(*l.Image, 0) || strings.ContainsRune(rec.Mask, 0) {
		return Record{}, errors.New("a path holds a zero byte")
	}
	if (l.Width == nil) != (l.Height == nil) {
		return Record{}, errors.New("width and height go together")
	}
	if l.Width == nil {
		return rec, nil
	}
	for _, side := range []struct {
		name string
		from json.Number
		to   *int
	}{{"width", *l.Width, &rec.Width}, {"height", *l.Height, &rec.Height}} {
		v, err := side.from.Float64() // some writers put 480.0
		if err != nil || v != float64(int(v)) || v < 1 || v > 1<<24 {
			return Record{}, fmt.Errorf("%s %s is not a number of pixels", side.name, side.from)
		}
		*side.to = int(v)
	}
	return rec, nil
}

// WriteList writes an .odgt list with paths relative to root.
func WriteList(w io.Writer, records []Record, root string) error {
	out := bufio.NewWriter(w)
	for _, r := range records {
		line := struct {
			Image  string `json:"fpath_img"`
			Mask   string `json:"fpath_segm,omitempty"`
			Width  int    `json:"width"`
			Height int    `json:"height"`
		}{relative(root, r.Image), relative(root, r.Mask), r.Width, r.Height}
		b, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("data: list: %w", err)
		}
		out.Write(append(b, '\n')) // Flush returns the first error
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("data: list: %w", err)
	}
	return nil
}

func relative(root, path string) string {
	if path == "" {
		return ""
	}
	if rel, err := filepath.Rel(root, path); err == nil && root != "" {
		path = rel
	}
	return filepath.ToSlash(path)
}

// extensions of the formats DecodePicture reads.
var extensions = []string{".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}

func isPicture(name string) bool {
	return !strings.HasPrefix(name, ".") && slices.Contains(extensions, strings.ToLower(filepath.Ext(name)))
}

// OpenFolders pairs the pictures of one folder with the masks of another by
// stem: images/a.jpg with masks/a.png. Subfolders are walked, and pair by
// their path. Pictures without a mask, masks without a picture, and two files
// of one stem are errors.
func OpenFolders(images, masks string) (*Set, error) {
	pictures, err := walk(images)
	if err != nil {
		return nil, err
	}
	labels, err := walk(masks)
	if err != nil {
		return nil, err
	}
	errs := &ListError{File: images}
	byStem := map[string]string{}
	for _, rel := range labels {
		if other, twice := byStem[stem(rel)]; twice {
			errs.add(0, "masks %s and %s share a stem", other, rel)
			continue
		}
		byStem[stem(rel)] = rel
	}
	set := &Set{Name: images}
	used := map[string]string{}
	for _, rel := range pictures {
		mask, ok := byStem[stem(rel)]
		if other, twice := used[stem(rel)]; twice {
			errs.add(0, "pictures %s and %s share a stem", other, rel)
			continue
		}
		used[stem(rel)] = rel
		if !ok {
			errs.add(0, "picture %s has no mask %s.png in %s", rel, stem(rel), masks)
			continue
		}
		set.Records = append(set.Records, Record{Name: filepath.ToSlash(rel),
			Image: filepath.Join(images, rel), Mask: filepath.Join(masks, mask)})
	}
	for _, rel := range labels {
		if _, ok := used[stem(rel)]; !ok {
			errs.add(0, "mask %s in %s has no picture", rel, masks)
		}
	}
	if len(set.Records) == 0 && len(errs.Findings) == 0 {
		errs.add(0, "no pictures; %s", formats)
	}
	if err := errs.asError(); err != nil {
		return nil, err
	}
	return set, nil
}

func stem(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) }

// walk lists the pictures below a folder, sorted, relative to it. The folder
// may be a link; links to folders inside it are not followed.
func walk(dir string) ([]string, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("data: folder: %w", err)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	var out []string
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || !isPicture(d.Name()) {
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil {
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("data: folder: %w", err)
	}
	slices.Sort(out)
	return out, nil
}

// pictureList reads a list of one picture a line, relative to its folder.
func pictureList(path string) ([]Record, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	errs := &ListError{File: path}
	var records []Record
	for i, line := range strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n") {
		switch name := strings.TrimSpace(line); {
		case name == "":
		case strings.ContainsRune(name, 0) || len(name) > 4096 || !isPicture(filepath.Base(name)):
			errs.add(i+1, "not the name of a picture; %s", formats)
		default:
			records = append(records, Record{Name: name, Image: join(filepath.Dir(path), name), Line: i + 1})
		}
	}
	if err := errs.asError(); err != nil {
		return nil, err
	}
	return records, nil
}

// OpenImages makes a set for prediction from pictures, folders of pictures,
// and lists: .odgt, and .txt of one picture a line (paths are relative to the
// list's folder).
func OpenImages(paths ...string) (*Set, error) {
	set := &Set{Name: strings.Join(paths, ", ")}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("data: %w", err)
		case info.IsDir():
			names, err := walk(path)
			if err != nil {
				return nil, err
			}
			for _, rel := range names {
				set.Records = append(set.Records, Record{Name: filepath.ToSlash(rel), Image: filepath.Join(path, rel)})
			}
		case strings.EqualFold(filepath.Ext(path), ".odgt"):
			list, err := OpenList(path, filepath.Dir(path))
			if err != nil {
				return nil, err
			}
			set.Records = append(set.Records, list.Records...)
		case strings.EqualFold(filepath.Ext(path), ".txt"):
			list, err := pictureList(path)
			if err != nil {
				return nil, err
			}
			set.Records = append(set.Records, list...)
		default:
			set.Records = append(set.Records, Record{Name: filepath.Base(path), Image: path})
		}
	}
	if len(set.Records) == 0 {
		e := &ListError{File: set.Name}
		e.add(0, "no pictures; %s", formats)
		return nil, e
	}
	return set, nil
}
