package config

import (
	"strings"

	"github.com/graft-onnx/graft/models"
)

// Names of DATASET.format: how a data set lies in its folder.
const (
	FormatAuto         = "auto"          // folders where train_images is set, else an .odgt list
	FormatODGT         = "odgt"          // .odgt lists of list_train and list_val
	FormatFolders      = "folders"       // folders whose files pair by stem
	FormatVOC          = "voc"           // Pascal VOC's JPEGImages, SegmentationClass and ImageSets/Segmentation
	FormatCityscapes   = "cityscapes"    // leftImg8bit and gtFine; label ids become the 19 training classes
	FormatCOCOPanoptic = "coco-panoptic" // panoptic JSON and PNG
	FormatCOCOSemantic = "coco-semantic" // PNG of category ids, beside a JSON of pictures and categories
)

// Void is the mask value of pixels that are no class in the formats that
// number classes themselves: more than any class has.
const Void = 65535

var formatNames = []string{FormatAuto, FormatODGT, FormatFolders, FormatVOC, FormatCityscapes, FormatCOCOPanoptic, FormatCOCOSemantic}

// COCO reports whether the set is of one of the two formats with a JSON file.
func (d *Dataset) COCO() bool { return strings.HasPrefix(d.Format, "coco-") }

// presets fills in what follows from other keys and was not set: the width of
// the encoder's features; the lists, which have their place in a format, and the
// meaning of its mask values.
func (c *Config) presets() {
	if n, err := models.FeatureChannels(c.Model.ArchEncoder); err == nil && !c.given("MODEL.fc_dim") {
		c.Model.FcDim = n
	}
	d := &c.Dataset
	unset := func(key string) bool { return !c.given("DATASET." + key) }
	if d.TrainImages != "" && unset("list_val") {
		d.ListVal = "" // the default list belongs to the default training list
	}
	ignored := Void
	switch d.Format {
	case FormatVOC:
		ignored = 255
		fallthrough
	case FormatCityscapes, FormatCOCOPanoptic, FormatCOCOSemantic:
		if unset("list_train") {
			d.ListTrain = ""
		}
		if unset("list_val") {
			d.ListVal = ""
		}
	default:
		if d.MaskColours == "" {
			return
		}
	}
	if unset("label_shift") {
		d.LabelShift = 0
	}
	if unset("ignore_labels") {
		d.IgnoreLabels = []int{ignored}
	}
}
