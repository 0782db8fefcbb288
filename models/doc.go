// Package models builds segmentation networks as ONNX graphs.
//
// A network is an encoder, which turns a picture into feature maps, and a
// decoder, which turns feature maps into the log-probability of every class at
// every cell:
//
//	image (N,3,H,W) --encoder--> features_0 ... features_3 --decoder--> logprob (N,classes,h,w)
//	                                                                    logprob_deepsup
//
// The feature maps are the encoder's taps, one behind each of its stages of
// stride 4, 8, 16 and 32 (as the stages are before dilation: a dilated encoder
// keeps stride 8 from the second on, and HRNetV2 has all four at stride 4). C1
// and PPM work on the last, and give classes at its resolution; their deep
// supervision also reads the one before; UPerNet reads all and gives classes at
// the resolution of the first, so its labels for training have stride 4.
// Encoders come from this package (New) or
// from any ONNX backbone (Attach, on what onnx.Import makes). Either way the
// decoder is fitted to the channels that the taps turn out to have.
//
// The architectures, the names and shapes of their parameters and the
// distributions these begin with are those of the PyTorch project
// CSAILVision/semantic-segmentation-pytorch, so that its weights fit by name.
// N, H and W stay symbolic: one file serves every input size. Parameters are
// the file's float initializers, called encoder.* and decoder.*; everything
// else constant is a Constant node.
package models
