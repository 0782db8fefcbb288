package config

// Config is the resolved settings of one run: defaults, then the file, then
// the overrides. The field tags are the names in the file.
type Config struct {
	Dataset Dataset `yaml:"DATASET"`
	Model   Model   `yaml:"MODEL"`
	Train   Train   `yaml:"TRAIN"`
	Val     Val     `yaml:"VAL"`
	Test    Test    `yaml:"TEST"`
	// Dir is the run folder: checkpoints, history, report, resolved config.
	Dir string `yaml:"DIR"`

	// file and lines say where each key was set, for Validate's errors.
	file  string
	lines map[string]int
}

// Dataset says where the pictures are and how they become batches.
type Dataset struct {
	RootDataset string `yaml:"root_dataset"` // folder the paths inside the lists are relative to
	ListTrain   string `yaml:"list_train"`   // .odgt list for training
	ListVal     string `yaml:"list_val"`     // .odgt list for evaluation
	NumClass    int    `yaml:"num_class"`    // classes, ignore not counted
	// ImgSizes are the short sides in pixels: one is drawn per training
	// batch, and evaluation averages over all of them.
	ImgSizes             []int `yaml:"imgSizes"`
	ImgMaxSize           int   `yaml:"imgMaxSize"`             // cap on the long side, pixels
	PaddingConstant      int   `yaml:"padding_constant"`       // batch height and width are multiples of it
	SegmDownsamplingRate int   `yaml:"segm_downsampling_rate"` // input pixels per label pixel and side
	RandomFlip           bool  `yaml:"random_flip"`            // mirror half of the training pictures

	// Own keys.

	// TrainImages and TrainMasks are folders whose files pair by stem
	// (name without extension); they replace list_train. The same for val,
	// which may be left out: without a list_val of its own the run then has
	// no validation.
	TrainImages string `yaml:"train_images"`
	TrainMasks  string `yaml:"train_masks"`
	ValImages   string `yaml:"val_images"`
	ValMasks    string `yaml:"val_masks"`
	// Format is how the set lies in its folder; format.go has the names. All
	// but the first three begin at root_dataset, and number classes from 0.
	Format string `yaml:"format"`
	// MaskColours is a table of the colours that masks are drawn in: CSV with
	// the columns r, g, b, and label or name. Empty: masks hold numbers.
	MaskColours string `yaml:"mask_colours"`
	// Things says what the countable categories of COCO become: "keep", a class
	// each; "merge", one class together, the first; "ignore".
	Things string `yaml:"things"`
	// Classes is a file of class names and colours: CSV (label,name,r,g,b)
	// or one name per line.
	Classes string `yaml:"classes"`
	// LabelShift is subtracted from every mask value: 1 is the reference's
	// convention, where 0 means unlabelled; 0 takes masks as they are.
	LabelShift int `yaml:"label_shift"`
	// IgnoreIndex is a class number, after the shift, that takes no part in
	// loss and metrics; -1 is always ignored.
	IgnoreIndex int `yaml:"ignore_index"`
	// IgnoreLabels are mask values, before the shift, that are ignored.
	IgnoreLabels []int     `yaml:"ignore_labels"`
	Mean         []float64 `yaml:"mean"` // per RGB channel, of values in 0..1
	Std          []float64 `yaml:"std"`
	MaxPixels    int       `yaml:"max_pixels"` // larger pictures are refused
	CacheMB      int       `yaml:"cache_mb"`   // most MiB of decoded pictures kept in memory; 0: none
	// ExifOrientation: what to do with a picture whose EXIF data asks for
	// rotation: "refuse", "ignore" (as the reference) or "apply".
	ExifOrientation string `yaml:"exif_orientation"`
	// Augment is what is done to every training picture and its mask, in order,
	// after the short side is drawn; docs/data.md has the steps. Without a list
	// it is the reference's: random_flip alone. A flip in the list replaces
	// random_flip.
	Augment []Step `yaml:"augment"`
}

// Model says which network is trained.
type Model struct {
	ArchEncoder    string `yaml:"arch_encoder"`
	ArchDecoder    string `yaml:"arch_decoder"`
	WeightsEncoder string `yaml:"weights_encoder"` // .onnx file to take the encoder's weights from; empty: random, not pretrained as the reference's
	WeightsDecoder string `yaml:"weights_decoder"`
	FcDim          int    `yaml:"fc_dim"` // channels of the encoder's last feature map, from which it follows; another value is told of

	// Own keys.

	// File is an .onnx model to train; arch_* and fc_dim are then unused.
	File string `yaml:"file"`
	// Frozen parameters are not trained: those whose names begin with one of
	// these prefixes. "encoder" and "decoder" name these parts. Their batch
	// normalisation uses and keeps its running statistics.
	Frozen []string `yaml:"frozen"`
	// Width divides the channels of the built-in networks: 1 full, 4 a quarter.
	Width int `yaml:"width"`
}

// Train says how the network is trained.
type Train struct {
	BatchSizePerGPU int     `yaml:"batch_size_per_gpu"`
	NumEpoch        int     `yaml:"num_epoch"`
	StartEpoch      int     `yaml:"start_epoch"`
	EpochIters      int     `yaml:"epoch_iters"` // iterations per epoch, whatever the length of the list
	Optim           string  `yaml:"optim"`       // SGD or AdamW
	LrEncoder       float64 `yaml:"lr_encoder"`
	LrDecoder       float64 `yaml:"lr_decoder"`
	LrPow           float64 `yaml:"lr_pow"`         // power of the poly schedule
	Beta1           float64 `yaml:"beta1"`          // momentum; AdamW's share of old gradients
	WeightDecay     float64 `yaml:"weight_decay"`   // on convolution and linear weights only
	DeepSupScale    float64 `yaml:"deep_sup_scale"` // weight of the deep supervision loss
	FixBN           bool    `yaml:"fix_bn"`         // batch normalisation uses and keeps its running statistics
	Workers         int     `yaml:"workers"`        // goroutines decoding pictures
	Ckpt            string  `yaml:"ckpt"`           // not used; DIR is the run folder
	DispIter        int     `yaml:"disp_iter"`      // a line of figures every so many iterations
	Seed            int     `yaml:"seed"`

	// Own keys.

	Precision string `yaml:"precision"` // "fp32" or "bf16"
	Device    string `yaml:"device"`    // "auto", "native", "onednn"
	// Recompute: what the backward pass computes a second time instead of keeping
	// it: "none", "cheap" (normalisation and the like), "full" (whole segments of
	// the network: least memory) or "auto", which is cheap in fp32 and none in
	// bf16. The training's numbers are the same.
	Recompute string `yaml:"recompute"`
	// Devices are cpu:0, cpu:1 and so on, a replica of the model on each, or
	// none for one that has all threads. BatchSizePerGPU is that of each.
	Devices []string `yaml:"devices"`
	// BNMomentum is the weight of the newest batch in the running
	// statistics (PyTorch's sense; ONNX stores 1 minus it).
	BNMomentum float64 `yaml:"bn_momentum"`
	// CheckpointIters: a checkpoint every so many iterations; 0: every epoch.
	CheckpointIters int `yaml:"checkpoint_iters"`
	// EvalEpochs: evaluation on the validation set every so many epochs; 0: only at the end.
	EvalEpochs int `yaml:"eval_epochs"`
	// Patience ends training after so many evaluations without a better mean
	// IoU than the best; 0: never.
	Patience int `yaml:"patience"`
	// Prefetch is the number of batches made ahead.
	Prefetch int `yaml:"prefetch"`
	// Losses are added up, weighted, at every output of the network; none is
	// the reference's negative log-likelihood. See Loss.
	Losses   []Loss  `yaml:"losses"`
	Nesterov bool    `yaml:"nesterov"` // SGD looks ahead along its velocity
	Beta2    float64 `yaml:"beta2"`    // AdamW's share of old squared gradients
	Eps      float64 `yaml:"eps"`      // added to the root of AdamW's squared gradients
	// ClipNorm is the largest norm of all gradients together; larger ones are
	// scaled down to it. 0: no limit.
	ClipNorm float64 `yaml:"clip_norm"`
	// Accumulate is how many batches make one iteration, which updates by the
	// mean of their gradients.
	Accumulate int `yaml:"accumulate"`
	// EMADecay is the share of the old values in the exponential moving
	// average of all parameters and running statistics, which is evaluated and
	// saved in place of them; 0: none.
	EMADecay float64 `yaml:"ema_decay"`
	// Schedule of the learning rates: "poly" (the reference's), "cosine" to
	// lr_min, "step" (times lr_gamma at each of the milestones) or "constant".
	Schedule   string  `yaml:"schedule"`
	LrMin      float64 `yaml:"lr_min"`
	Milestones []int   `yaml:"milestones"` // epochs, rising
	LrGamma    float64 `yaml:"lr_gamma"`
	// WarmupIters is over how many iterations the learning rates rise from
	// warmup_factor times what the schedule says to all of it; 0: none.
	WarmupIters  int     `yaml:"warmup_iters"`
	WarmupFactor float64 `yaml:"warmup_factor"`
}

// Val says how evaluation runs.
type Val struct {
	BatchSize  int    `yaml:"batch_size"` // 1, as in the reference
	Visualize  bool   `yaml:"visualize"`  // pictures beside truth and prediction, into DIR/evaluation
	Checkpoint string `yaml:"checkpoint"` // file of DIR: checkpoint.onnx or best.onnx; epoch_N.pth, the reference's, is the former

	// Own keys.

	Flip bool `yaml:"flip"` // average with the mirrored picture's probabilities
	// Window is the height and width, or the side, of the parts that larger
	// pictures are evaluated by, pixels at their evaluation size; none: whole.
	Window  []int   `yaml:"window"`
	Overlap float64 `yaml:"overlap"` // share of a window that the next one repeats
}

// Test says how prediction runs.
type Test struct {
	BatchSize  int    `yaml:"batch_size"` // 1, as in the reference
	Checkpoint string `yaml:"checkpoint"` // as Val's
	Result     string `yaml:"result"`     // folder for the pictures
}

// Default returns the reference's defaults and those of graft's own keys.
func Default() *Config {
	return &Config{
		Dataset: Dataset{
			RootDataset: "./data/", ListTrain: "./data/training.odgt", ListVal: "./data/validation.odgt",
			NumClass: 150, ImgSizes: []int{300, 375, 450, 525, 600}, ImgMaxSize: 1000,
			PaddingConstant: 8, SegmDownsamplingRate: 8, RandomFlip: true,
			LabelShift: 1, IgnoreIndex: -1, IgnoreLabels: []int{},
			Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225},
			MaxPixels: 100_000_000, CacheMB: 512, ExifOrientation: "refuse", Format: FormatAuto, Things: "keep", Augment: []Step{},
		},
		Model: Model{ArchEncoder: "resnet50dilated", ArchDecoder: "ppm_deepsup", FcDim: 2048, Frozen: []string{}, Width: 1},
		Train: Train{
			BatchSizePerGPU: 2, NumEpoch: 20, StartEpoch: 0, EpochIters: 5000,
			Optim: "SGD", LrEncoder: 0.02, LrDecoder: 0.02, LrPow: 0.9, Beta1: 0.9,
			WeightDecay: 1e-4, DeepSupScale: 0.4, Workers: 16, Ckpt: "./ckpt", DispIter: 20, Seed: 304,
			Precision: "fp32", Device: "auto", Devices: []string{}, Recompute: "auto", BNMomentum: 0.001, EvalEpochs: 1, Prefetch: 4,
			Losses: []Loss{}, Beta2: 0.999, Eps: 1e-8, Accumulate: 1, Schedule: "poly", Milestones: []int{}, LrGamma: 0.1, WarmupFactor: 0.001,
		},
		Val:  Val{BatchSize: 1, Checkpoint: "checkpoint.onnx", Window: []int{}, Overlap: 0.25},
		Test: Test{BatchSize: 1, Checkpoint: "checkpoint.onnx", Result: "./"},
		Dir:  "ckpt/ade20k-resnet50dilated-ppm_deepsup",
	}
}

// MaxIters is the length of the whole run in iterations, the poly schedule's
// denominator.
func (c *Config) MaxIters() int { return c.Train.NumEpoch * c.Train.EpochIters }
