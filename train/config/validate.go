package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Validate checks every range and every pair of keys that must agree, and
// returns all findings as an *Errors.
func (c *Config) Validate() error {
	errs := &Errors{}
	bad := func(key, format string, args ...any) {
		file, line := "", c.lines[key]
		switch {
		case line < 0:
			file, line = commandLine, 0
		case line > 0:
			file = c.file
		}
		errs.add(file, line, key, format, args...)
	}
	within := func(key string, v, low, high int) {
		if v < low || v > high {
			bad(key, "%d is outside %d..%d", v, low, high)
		}
	}
	real := func(key string, v, low, high float64) {
		if !(v >= low && v <= high) {
			bad(key, "%g is outside %g..%g", v, low, high)
		}
	}
	oneOf := func(key, v string, names ...string) {
		if !slices.Contains(names, v) {
			bad(key, "%q is not one of %s", v, strings.Join(names, ", "))
		}
	}

	d := &c.Dataset
	within("DATASET.num_class", d.NumClass, 1, 65535)
	within("DATASET.imgMaxSize", d.ImgMaxSize, 1, 1<<16)
	if len(d.ImgSizes) == 0 {
		bad("DATASET.imgSizes", "empty; give at least one short side, such as (300,)")
	}
	for _, s := range d.ImgSizes {
		within("DATASET.imgSizes", s, 1, 1<<16)
	}
	within("DATASET.padding_constant", d.PaddingConstant, 1, 4096)
	within("DATASET.segm_downsampling_rate", d.SegmDownsamplingRate, 1, 4096)
	if p, r := d.PaddingConstant, d.SegmDownsamplingRate; p > 0 && r > 0 && p%r != 0 {
		bad("DATASET.padding_constant", "%d is not a multiple of segm_downsampling_rate %d, so labels would not lie on the network's output", p, r)
	}
	within("DATASET.label_shift", d.LabelShift, -65535, 65535)
	within("DATASET.ignore_index", d.IgnoreIndex, -1, 65535)
	for _, v := range d.IgnoreLabels {
		within("DATASET.ignore_labels", v, 0, 65535)
	}
	three := func(key string, v []float64) {
		if len(v) != 3 {
			bad(key, "want three numbers (red, green, blue), found %d", len(v))
		}
	}
	three("DATASET.mean", d.Mean)
	three("DATASET.std", d.Std)
	for _, v := range d.Std {
		if v <= 0 {
			bad("DATASET.std", "%g is not above 0", v)
		}
	}
	within("DATASET.max_pixels", d.MaxPixels, 1, 1<<31-1)
	within("DATASET.cache_mb", d.CacheMB, 0, 1<<20)
	oneOf("DATASET.exif_orientation", d.ExifOrientation, "refuse", "ignore", "apply")
	for i, s := range d.Augment {
		if err := s.check(); err != nil {
			bad("DATASET.augment", "step %d: %v", i+1, err)
		}
	}
	oneOf("DATASET.format", d.Format, formatNames...)
	oneOf("DATASET.things", d.Things, "keep", "merge", "ignore")
	switch {
	case d.MaskColours != "" && !slices.Contains(formatNames[:3], d.Format):
		bad("DATASET.mask_colours", "format %s has masks of its own; use it with odgt or folders", d.Format)
	case d.Format == FormatFolders && d.TrainImages == "":
		bad("DATASET.format", "folders needs DATASET.train_images and DATASET.train_masks")
	}
	unused := func(key, v string, formats ...string) {
		if v != "" && slices.Contains(formats, d.Format) {
			bad(key, "format %s finds its pictures itself; leave it empty", d.Format)
		}
	}
	unused("DATASET.train_images", d.TrainImages, FormatODGT, FormatVOC, FormatCityscapes)
	unused("DATASET.val_images", d.ValImages, FormatVOC, FormatCityscapes)
	unused("DATASET.list_train", d.ListTrain, FormatCityscapes)
	unused("DATASET.list_val", d.ListVal, FormatCityscapes)
	if d.Things != "keep" && !d.COCO() {
		bad("DATASET.things", "format %s does not tell things from the rest; leave it at keep", d.Format)
	}
	together := func(key, v, otherKey, other string) {
		if v != "" && other == "" && !d.COCO() {
			bad(key, "set without %s; the two folders go together", otherKey)
		}
	}
	together("DATASET.train_images", d.TrainImages, "DATASET.train_masks", d.TrainMasks)
	together("DATASET.train_masks", d.TrainMasks, "DATASET.train_images", d.TrainImages)
	together("DATASET.val_images", d.ValImages, "DATASET.val_masks", d.ValMasks)
	together("DATASET.val_masks", d.ValMasks, "DATASET.val_images", d.ValImages)

	m := &c.Model
	within("MODEL.fc_dim", m.FcDim, 1, 1<<16)
	within("MODEL.width", m.Width, 1, 64)
	if m.File == "" && m.ArchEncoder == "" {
		bad("MODEL.arch_encoder", "empty, and MODEL.file is too: name one of the two")
	}
	if m.File == "" && m.ArchDecoder == "" {
		bad("MODEL.arch_decoder", "empty, and MODEL.file is too: name one of the two")
	}

	if slices.Contains(m.Frozen, "") {
		bad("MODEL.frozen", "an empty prefix; name encoder, decoder or the beginnings of parameters' names")
	}

	t := &c.Train
	within("TRAIN.batch_size_per_gpu", t.BatchSizePerGPU, 1, 4096)
	within("TRAIN.num_epoch", t.NumEpoch, 1, 1<<20)
	within("TRAIN.start_epoch", t.StartEpoch, 0, 1<<20)
	if t.StartEpoch >= t.NumEpoch && t.NumEpoch >= 1 && t.StartEpoch <= 1<<20 {
		bad("TRAIN.start_epoch", "%d leaves nothing to train of num_epoch %d", t.StartEpoch, t.NumEpoch)
	}
	within("TRAIN.epoch_iters", t.EpochIters, 1, 1<<30)
	c.checkOptimizer(bad)
	real("TRAIN.lr_encoder", t.LrEncoder, 0, 1e3)
	real("TRAIN.lr_decoder", t.LrDecoder, 0, 1e3)
	real("TRAIN.lr_pow", t.LrPow, 0, 100)
	if !(t.Beta1 >= 0 && t.Beta1 < 1) {
		bad("TRAIN.beta1", "%g is outside 0 <= beta1 < 1", t.Beta1)
	}
	real("TRAIN.weight_decay", t.WeightDecay, 0, 1)
	real("TRAIN.deep_sup_scale", t.DeepSupScale, 0, 100)
	within("TRAIN.workers", t.Workers, 0, 1024)
	within("TRAIN.disp_iter", t.DispIter, 1, 1<<30)
	within("TRAIN.seed", t.Seed, 0, 1<<53)
	oneOf("TRAIN.precision", t.Precision, "fp32", "bf16")
	oneOf("TRAIN.recompute", t.Recompute, "auto", "none", "cheap", "full")
	if t.Device == "" {
		bad("TRAIN.device", "empty; auto picks one")
	}
	if err := CheckDevices(t.Devices); err != nil {
		bad("TRAIN.devices", "%v", err)
	}
	real("TRAIN.bn_momentum", t.BNMomentum, 0, 1)
	within("TRAIN.checkpoint_iters", t.CheckpointIters, 0, 1<<30)
	within("TRAIN.eval_epochs", t.EvalEpochs, 0, 1<<20)
	within("TRAIN.patience", t.Patience, 0, 1<<20)
	if t.Patience > 0 && t.EvalEpochs == 0 {
		bad("TRAIN.patience", "%d counts evaluations, and TRAIN.eval_epochs 0 makes none before the end; set it to 1 or more", t.Patience)
	}
	within("TRAIN.prefetch", t.Prefetch, 0, 256)
	for i := range t.Losses {
		for _, fault := range t.Losses[i].faults(d.NumClass) {
			bad("TRAIN.losses", "%s", fault)
		}
	}
	c.checkSchedule(bad)

	alone := func(key string, v int) {
		if v != 1 {
			bad(key, "%d is not supported: pictures differ in size, so evaluation takes one at a time", v)
		}
	}
	alone("VAL.batch_size", c.Val.BatchSize)
	alone("TEST.batch_size", c.Test.BatchSize)
	if len(c.Val.Window) > 2 {
		bad("VAL.window", "want height and width, found %d numbers", len(c.Val.Window))
	}
	for _, v := range c.Val.Window {
		within("VAL.window", v, 1, 1<<16)
	}
	if !(c.Val.Overlap >= 0 && c.Val.Overlap <= 0.95) {
		bad("VAL.overlap", "%g is outside 0..0.95", c.Val.Overlap)
	}
	if c.Dir == "" {
		bad("DIR", "empty; name the run folder")
	}
	return errs.asError()
}

// CheckDevices returns the first thing that is wrong with a list of devices.
func CheckDevices(names []string) error {
	for i, name := range names {
		number, ok := strings.CutPrefix(name, "cpu:")
		n, err := strconv.Atoi(number)
		switch {
		case !ok || err != nil || n < 0:
			return fmt.Errorf("unknown device %q; a list is cpu:0, cpu:1 and so on", name)
		case slices.Contains(names[:i], name):
			return fmt.Errorf("%s occurs twice; every replica needs a device of its own", name)
		case n >= len(names):
			return fmt.Errorf("no %s in a list of %d: the devices share the processors evenly, as cpu:0 to cpu:%d", name, len(names), len(names)-1)
		}
	}
	return nil
}

// checkOptimizer hands what is wrong with the optimizer to bad.
func (c *Config) checkOptimizer(bad func(key, format string, args ...any)) {
	t := &c.Train
	sgd := strings.EqualFold(t.Optim, "SGD")
	if !sgd && !strings.EqualFold(t.Optim, "AdamW") {
		bad("TRAIN.optim", "%q is not supported; SGD and AdamW are", t.Optim)
	}
	if t.Nesterov && (!sgd || t.Beta1 == 0) {
		bad("TRAIN.nesterov", "True wants TRAIN.optim SGD and TRAIN.beta1 (momentum) above 0, found %s and %g", t.Optim, t.Beta1)
	}
	if !(t.Beta2 >= 0 && t.Beta2 < 1) {
		bad("TRAIN.beta2", "%g is outside 0 <= beta2 < 1", t.Beta2)
	}
	if !(t.ClipNorm >= 0 && t.ClipNorm <= 1e6) {
		bad("TRAIN.clip_norm", "%g is outside 0..1e6", t.ClipNorm)
	}
	if t.Accumulate < 1 || t.Accumulate > 4096 {
		bad("TRAIN.accumulate", "%d is outside 1..4096", t.Accumulate)
	}
	if !(t.EMADecay >= 0 && t.EMADecay < 1) {
		bad("TRAIN.ema_decay", "%g is outside 0 <= ema_decay < 1", t.EMADecay)
	}
	if !(t.Eps > 0 && t.Eps <= 1) {
		bad("TRAIN.eps", "%g is outside 0 < eps <= 1", t.Eps)
	}
}

// checkSchedule hands what is wrong with the learning rates to bad.
func (c *Config) checkSchedule(bad func(key, format string, args ...any)) {
	t := &c.Train
	if names := []string{"poly", "cosine", "step", "constant"}; !slices.Contains(names, t.Schedule) {
		bad("TRAIN.schedule", "%q is not one of %s", t.Schedule, strings.Join(names, ", "))
	}
	if !(t.LrMin >= 0 && t.LrMin <= min(t.LrEncoder, t.LrDecoder)) {
		bad("TRAIN.lr_min", "%g is outside 0..%g, the smaller of lr_encoder and lr_decoder", t.LrMin, min(t.LrEncoder, t.LrDecoder))
	} else if t.LrMin > 0 && t.Schedule != "cosine" {
		bad("TRAIN.lr_min", "%g has no meaning in TRAIN.schedule %s; cosine has one", t.LrMin, t.Schedule)
	}
	switch {
	case t.Schedule == "step" && len(t.Milestones) == 0:
		bad("TRAIN.milestones", "empty; TRAIN.schedule step wants epochs such as (10, 15)")
	case t.Schedule != "step" && len(t.Milestones) > 0:
		bad("TRAIN.milestones", "have no meaning in TRAIN.schedule %s; step has them", t.Schedule)
	}
	for i, m := range t.Milestones {
		if m < 1 || i > 0 && m <= t.Milestones[i-1] {
			bad("TRAIN.milestones", "%d does not rise; want epochs from 1 on, each above the one before", m)
		}
	}
	if !(t.LrGamma > 0 && t.LrGamma <= 1) {
		bad("TRAIN.lr_gamma", "%g is outside 0 < lr_gamma <= 1", t.LrGamma)
	}
	if t.WarmupIters < 0 || t.WarmupIters > c.MaxIters() {
		bad("TRAIN.warmup_iters", "%d is outside 0..%d, the iterations of the run", t.WarmupIters, c.MaxIters())
	}
	if !(t.WarmupFactor > 0 && t.WarmupFactor <= 1) {
		bad("TRAIN.warmup_factor", "%g is outside 0 < warmup_factor <= 1", t.WarmupFactor)
	}
}

// String implements fmt.Stringer as YAML.
func (c *Config) String() string { return string(c.YAML()) }

var _ fmt.Stringer = (*Config)(nil)
