package data

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/config"
)

// A Format is a data set as it lies in its folders.
type Format interface {
	// List pairs the pictures of a split with their masks. It opens lists and
	// folders, no picture.
	List(split Split) (*Set, error)
	// Has reports whether there is a split.
	Has(split Split) bool
	// Classes names the classes; nil where the format does not tell.
	Classes() (models.Classes, error)
}

// formatOf returns a configuration's format.
func formatOf(c *config.Config) Format {
	d := &c.Dataset
	switch d.Format {
	case config.FormatVOC:
		return vocFormat{d}
	case config.FormatCityscapes:
		return cityscapesFormat{d}
	case config.FormatCOCOPanoptic, config.FormatCOCOSemantic:
		return cocoFormat{d}
	}
	if d.TrainImages != "" {
		return foldersFormat{d}
	}
	return odgtFormat{d}
}

// Has reports whether a configuration has a split: training does without a
// validation set.
func Has(c *config.Config, split Split) bool { return formatOf(c).Has(split) }

// Classes returns the classes that DATASET.classes or the format names, nil
// where neither does.
func Classes(c *config.Config) (models.Classes, error) {
	d := &c.Dataset
	if d.Classes != "" {
		return models.LoadDataClasses(d.Classes, d.NumClass, d.LabelShift)
	}
	classes, err := formatOf(c).Classes()
	if err == nil && classes != nil && len(classes) != d.NumClass {
		err = fmt.Errorf("data: format %s has %d classes here, DATASET.num_class says %d", d.Format, len(classes), d.NumClass)
	}
	if err != nil {
		return nil, err
	}
	return classes, nil
}

// places are the folders and the list of a split.
func places(d *config.Dataset, split Split) (images, masks, list string) {
	if split == Val {
		return d.ValImages, d.ValMasks, d.ListVal
	}
	return d.TrainImages, d.TrainMasks, d.ListTrain
}

// named numbers class names from 0.
func named(names ...string) models.Classes {
	c := models.NumberedClasses(len(names), 0)
	for i := range c {
		c[i].Name = names[i]
	}
	return c
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// foldersFormat is pictures and masks that pair by stem.
type foldersFormat struct{ *config.Dataset }

func (f foldersFormat) List(split Split) (*Set, error) {
	images, masks, list := places(f.Dataset, split)
	if images == "" && list != "" { // folders to train on, a list to validate on
		return odgtFormat(f).List(split)
	}
	if images == "" {
		return nil, fmt.Errorf("data: no %s set: DATASET.%s_images is empty", split, split)
	}
	return openFolders(images, masks, split)
}

// openFolders is OpenFolders with the keys that name folders which are not there.
func openFolders(images, masks string, split Split) (*Set, error) {
	set, err := OpenFolders(images, masks)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; set DATASET.%s_images and DATASET.%s_masks", err, split, split)
	}
	return set, err
}

func (f foldersFormat) Has(split Split) bool {
	images, _, list := places(f.Dataset, split)
	return images != "" || list != ""
}

func (foldersFormat) Classes() (models.Classes, error) { return nil, nil }

// odgtFormat is the reference project's lists.
type odgtFormat struct{ *config.Dataset }

func (f odgtFormat) List(split Split) (*Set, error) {
	images, masks, list := places(f.Dataset, split)
	if images != "" { // a list to train on, folders to validate on
		return openFolders(images, masks, split)
	}
	if list == "" {
		return nil, fmt.Errorf("data: no %s set: DATASET.list_%s is empty, and so is DATASET.%s_images", split, split, split)
	}
	set, err := OpenList(list, f.RootDataset)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; set DATASET.list_%s, or the folders DATASET.%s_images and DATASET.%s_masks, or DATASET.format", err, split, split, split)
	}
	return set, err
}

func (f odgtFormat) Has(split Split) bool { return foldersFormat(f).Has(split) }

func (odgtFormat) Classes() (models.Classes, error) { return nil, nil }

// vocFormat is Pascal VOC's layout. Masks are palette PNG; 255, the border
// around objects, is ignored.
type vocFormat struct{ *config.Dataset }

func (f vocFormat) list(split Split) string {
	_, _, list := places(f.Dataset, split)
	return cmp.Or(list, filepath.Join(f.RootDataset, "ImageSets", "Segmentation", string(split)+".txt"))
}

func (f vocFormat) Has(split Split) bool { return exists(f.list(split)) }

// List reads one name a line, or a picture and a mask, relative to the root,
// as the lists of the larger annotations have it.
func (f vocFormat) List(split Split) (*Set, error) {
	path := f.list(split)
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: list: %w; DATASET.root_dataset is the folder that holds JPEGImages, SegmentationClass and ImageSets, DATASET.list_%s another list", err, split)
	}
	defer file.Close()
	set, errs := &Set{Name: path}, &ListError{File: path}
	scan := bufio.NewScanner(file)
	line := 0
	for scan.Scan() {
		line++
		words := strings.Fields(scan.Text())
		rec := Record{Line: line}
		inside := func(parts ...string) string { return filepath.Join(append([]string{f.RootDataset}, parts...)...) }
		switch {
		case len(words) == 0:
			continue
		case strings.ContainsRune(scan.Text(), 0):
			errs.add(line, "a name holds a zero byte")
			continue
		case len(words) == 1:
			rec.Name = words[0]
			rec.Image, rec.Mask = inside("JPEGImages", words[0]+".jpg"), inside("SegmentationClass", words[0]+".png")
		case len(words) == 2 && isPicture(filepath.Base(words[0])) && isPicture(filepath.Base(words[1])):
			rec.Name = strings.TrimLeft(words[0], "/")
			rec.Image, rec.Mask = inside(words[0]), inside(words[1])
		default:
			errs.add(line, "want a name such as 2007_000032, or a picture and a mask; found %d words", len(words))
			continue
		}
		if len(set.Records) == maxRecords {
			errs.add(line, "more than %d records", maxRecords)
			break
		}
		set.Records = append(set.Records, rec)
	}
	if err := scan.Err(); err != nil {
		errs.add(line+1, "%v; is this a list of names?", err)
	} else if len(set.Records) == 0 && len(errs.Findings) == 0 {
		errs.add(0, "empty; it names no picture")
	}
	if err := errs.asError(); err != nil {
		return nil, err
	}
	return set, nil
}

// Classes are VOC's where there are as many; sets in its layout may have their
// own.
func (f vocFormat) Classes() (models.Classes, error) {
	voc := named("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
		"dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")
	if f.NumClass != len(voc) {
		return nil, nil
	}
	return voc, nil
}

// cityscapesFormat is leftImg8bit/SPLIT/CITY/x_leftImg8bit.png beside
// gtFine/SPLIT/CITY/x_gtFine_labelIds.png.
type cityscapesFormat struct{ *config.Dataset }

const (
	cityPictures = "leftImg8bit"
	cityMasks    = "gtFine"
	cityPicture  = "_leftImg8bit.png"
	cityMask     = "_gtFine_labelIds.png"
)

func (f cityscapesFormat) Has(split Split) bool {
	return exists(filepath.Join(f.RootDataset, cityPictures, string(split)))
}

func (f cityscapesFormat) List(split Split) (*Set, error) {
	images, masks := filepath.Join(f.RootDataset, cityPictures, string(split)), filepath.Join(f.RootDataset, cityMasks, string(split))
	pictures, err := walk(images)
	if err == nil && len(pictures) == 0 {
		err = fmt.Errorf("data: %s: no pictures", images)
	}
	var labels []string
	if err == nil {
		labels, err = walk(masks)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; DATASET.root_dataset is the folder that holds %s and %s", err, cityPictures, cityMasks)
	}
	waiting := map[string]bool{}
	for _, rel := range labels {
		if strings.HasSuffix(rel, cityMask) {
			waiting[rel] = true
		}
	}
	set, errs := &Set{Name: images}, &ListError{File: images}
	for _, rel := range pictures {
		base, ok := strings.CutSuffix(rel, cityPicture)
		if !ok {
			errs.add(0, "picture %s is not named ..%s", rel, cityPicture)
			continue
		}
		mask := base + cityMask
		if !waiting[mask] {
			errs.add(0, "picture %s has no mask %s", rel, filepath.Join(masks, mask))
			continue
		}
		delete(waiting, mask)
		set.Records = append(set.Records, Record{Name: filepath.ToSlash(rel), Image: filepath.Join(images, rel),
			Mask: filepath.Join(masks, mask), Coding: cityscapesIDs})
	}
	for _, rel := range labels {
		if waiting[rel] {
			errs.add(0, "mask %s in %s has no picture", rel, masks)
		}
	}
	if err := errs.asError(); err != nil {
		return nil, err
	}
	return set, nil
}

func (cityscapesFormat) Classes() (models.Classes, error) {
	return named("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
		"sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"), nil
}
