package data

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/config"
)

// cocoFormat is COCO's JSON of pictures and categories beside PNG masks: of
// segment ids (panoptic) or of category ids (semantic). The JSON is list_train,
// else annotations/panoptic_train2017.json below the root; pictures are in
// train_images, else train2017; masks in train_masks, else in the folder named
// as the JSON.
type cocoFormat struct{ *config.Dataset }

func (f cocoFormat) places(split Split) (images, masks, list string) {
	images, masks, list = places(f.Dataset, split)
	list = cmp.Or(list, filepath.Join(f.RootDataset, "annotations", "panoptic_"+string(split)+"2017.json"))
	return cmp.Or(images, filepath.Join(f.RootDataset, string(split)+"2017")), cmp.Or(masks, strings.TrimSuffix(list, filepath.Ext(list))), list
}

func (f cocoFormat) Has(split Split) bool {
	_, _, list := f.places(split)
	return exists(list)
}

// The parts of the JSON that are used.
type (
	cocoImage struct {
		ID     int64  `json:"id"`
		File   string `json:"file_name"`
		Width  int    `json:"width"`
		Height int    `json:"height"`
	}
	cocoAnnotation struct {
		Image    int64         `json:"image_id"`
		File     string        `json:"file_name"`
		Segments []cocoSegment `json:"segments_info"`
	}
	cocoSegment struct {
		ID       uint32 `json:"id"`
		Category int    `json:"category_id"`
	}
	cocoCategory struct {
		ID    int    `json:"id"`
		Name  string `json:"name"`
		Thing int    `json:"isthing"`
	}
)

// cocoFile is a file read.
type cocoFile struct {
	images      []cocoImage
	annotations []cocoAnnotation
	categories  []cocoCategory
}

// readCOCO reads a file element by element: the training set's has hundreds of
// megabytes. Annotations are left out unless wanted.
func readCOCO(path string, annotations bool) (*cocoFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w; name COCO's JSON file in DATASET.list_train and DATASET.list_val, or the folder that holds annotations in DATASET.root_dataset", err)
	}
	defer f.Close()
	out := &cocoFile{}
	d := json.NewDecoder(bufio.NewReaderSize(f, 1<<16))
	err = elements(d, func(key string) error {
		switch {
		case key == "images":
			return decodeInto(d, &out.images)
		case key == "annotations" && annotations:
			return decodeInto(d, &out.annotations)
		case key == "categories":
			return decodeInto(d, &out.categories)
		}
		return skip(d)
	})
	if err != nil {
		return nil, fmt.Errorf("data: %s: not COCO's JSON (byte %d): %w", path, d.InputOffset(), err)
	}
	if len(out.categories) == 0 || len(out.images) == 0 {
		return nil, fmt.Errorf("data: %s: no images or no categories", path)
	}
	return out, nil
}

// elements calls each for the keys of an object; each reads the value.
func elements(d *json.Decoder, each func(key string) error) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return cmp.Or(err, errors.New("want an object"))
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		if err := each(t.(string)); err != nil { // an object's keys are strings
			return err
		}
	}
	_, err := d.Token()
	return err
}

func decodeInto[T any](d *json.Decoder, into *[]T) error {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return cmp.Or(err, errors.New("want an array"))
	}
	for d.More() {
		var one T
		if err := d.Decode(&one); err != nil {
			return err
		}
		if len(*into) == maxRecords {
			return fmt.Errorf("more than %d elements", maxRecords)
		}
		*into = append(*into, one)
	}
	_, err := d.Token()
	return err
}

// skip reads a value token by token.
func skip(d *json.Decoder) error {
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// mapping numbers the categories: by id, things as DATASET.things says.
func (f cocoFormat) mapping(categories []cocoCategory) (labels map[int]uint16, names []string) {
	categories = slices.Clone(categories)
	slices.SortFunc(categories, func(a, b cocoCategory) int { return cmp.Compare(a.ID, b.ID) })
	labels = map[int]uint16{}
	if f.Things == "merge" {
		names = append(names, "things")
	}
	for _, c := range categories {
		switch {
		case c.Thing != 0 && f.Things == "ignore":
			labels[c.ID] = config.Void
		case c.Thing != 0 && f.Things == "merge":
			labels[c.ID] = 0
		default:
			labels[c.ID] = uint16(len(names))
			names = append(names, c.Name)
		}
	}
	return labels, names
}

// Classes implements Format.
func (f cocoFormat) Classes() (models.Classes, error) {
	_, _, list := f.places(Train)
	if !f.Has(Train) && f.Has(Val) { // evaluation alone
		_, _, list = f.places(Val)
	}
	file, err := readCOCO(list, false)
	if err != nil {
		return nil, err
	}
	_, names := f.mapping(file.categories)
	return named(names...), nil
}

// List implements Format.
func (f cocoFormat) List(split Split) (*Set, error) {
	images, masks, list := f.places(split)
	panoptic := f.Format == config.FormatCOCOPanoptic
	file, err := readCOCO(list, panoptic)
	if err != nil {
		return nil, err
	}
	labels, names := f.mapping(file.categories)
	if len(names) != f.NumClass {
		return nil, fmt.Errorf("data: %s: its categories make %d classes (DATASET.things %s), DATASET.num_class says %d", list, len(names), f.Things, f.NumClass)
	}
	set, errs := &Set{Name: list}, &ListError{File: list}
	record := func(image cocoImage, mask string, coding MaskCoding) {
		if image.File == "" || strings.ContainsRune(image.File+mask, 0) || image.Width < 0 || image.Height < 0 {
			errs.add(0, "picture %d has no proper file_name, width and height", image.ID)
			return
		}
		set.Records = append(set.Records, Record{Name: image.File, Image: filepath.Join(images, image.File),
			Mask: filepath.Join(masks, mask), Width: image.Width, Height: image.Height, Coding: coding})
	}
	if panoptic {
		byID := map[int64]*cocoAnnotation{}
		for i := range file.annotations {
			byID[file.annotations[i].Image] = &file.annotations[i]
		}
		for _, image := range file.images {
			a := byID[image.ID]
			if a == nil {
				errs.add(0, "picture %s has no annotation", image.File)
				continue
			}
			delete(byID, image.ID)
			coding := panopticCoding{list, make(map[uint32]uint16, len(a.Segments))}
			for _, s := range a.Segments {
				label, ok := labels[s.Category]
				if !ok {
					errs.add(0, "picture %s: segment %d is of category %d, which is not in categories", image.File, s.ID, s.Category)
				}
				coding.segments[s.ID] = label
			}
			record(image, a.File, coding)
		}
		for id := range byID {
			errs.add(0, "annotation of picture %d, which is not in images", id)
		}
	} else {
		coding := &idCoding{map[uint16]uint16{0: config.Void, 255: config.Void}, "the category ids of " + list + ", 0 and 255"}
		for id, label := range labels {
			if id < 0 || id >= config.Void {
				errs.add(0, "category id %d is no value of a mask", id)
				continue
			}
			coding.labels[uint16(id)] = label
		}
		for _, image := range file.images {
			record(image, stem(image.File)+".png", coding)
		}
	}
	if err := errs.asError(); err != nil {
		return nil, err
	}
	return set, nil
}

// panopticCoding reads PNG files whose colours are segment ids,
// r + 256 g + 65536 b; 0 is no segment.
type panopticCoding struct {
	file     string
	segments map[uint32]uint16
}

// Values implements MaskCoding.
func (c panopticCoding) Values(path string, maxPixels int) (*Mask, error) {
	p, err := colourMask(path, maxPixels)
	if err != nil {
		return nil, err
	}
	m := &Mask{p.Width, p.Height, make([]uint16, p.Width*p.Height)}
	last, label := uint32(0), uint16(config.Void)
	for i := range m.Pix {
		if id := uint32(p.Pix[3*i]) | uint32(p.Pix[3*i+1])<<8 | uint32(p.Pix[3*i+2])<<16; id != last {
			known := true
			if last, label = id, config.Void; id != 0 {
				label, known = c.segments[id]
			}
			if !known {
				return nil, &CodeError{path, fmt.Sprintf("segment %d", id), i % m.Width, i / m.Width, "the picture's segments_info in " + c.file}
			}
		}
		m.Pix[i] = label
	}
	return m, nil
}
