package onnx

// Names in a segmentation network's file, by which its makers, training and
// export know its parts.
const (
	ImageName         = "image"           // the input, (N,3,H,W)
	FeaturePrefix     = "features_"       // begins the names of the encoder's outputs: features_0, ...
	OutputName        = "logprob"         // log-probabilities (N,classes,h,w)
	DeepSupOutputName = "logprob_deepsup" // the same from deep supervision, for training alone
	EncoderPrefix     = "encoder."        // begins the names of the encoder's parameters
	DecoderPrefix     = "decoder."        // and those of the decoder's
)
