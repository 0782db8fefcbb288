// Package data turns lists of pictures and masks into batches.
//
// A Set is a list of Records: a picture, its mask, their size. It comes from
// the reference project's .odgt lists, from a folder of pictures beside a
// folder of masks, from VOC, Cityscapes or COCO (format.go), or from plain
// pictures for prediction. A Reader decodes
// records, with an optional bounded cache. Three loaders sit on top:
//
//	set, err := data.Open(cfg, data.Train)
//	loader, err := data.NewTrainLoader(set, data.OptionsFrom(cfg))
//	stream := loader.Stream(ctx, iteration, iterations)  // batches made ahead, in order
//	defer stream.Close()
//	for {
//		batch, err := stream.Next()                       // io.EOF after the last
//		...
//		batch.Release()
//	}
//
// Batch k is a function of the options, the set and (seed, k) alone: which
// records (each pass over the set is shuffled by its own generator, and wide
// and tall pictures queue apart), which short side, which are mirrored. So a
// run resumed at iteration k asks for batch k and sees what it would have
// seen; nothing but the seed and k belongs into a checkpoint. Reaching k
// replays integers only, never decoding.
//
// Pixels follow the reference, which works through Pillow: bilinear
// resampling with a triangle filter as wide as the reduction, in 8-bit fixed
// point; nearest-neighbour masks; batches padded with zeros after
// normalisation. resize.go reproduces Pillow bit for bit, which
// golang.org/x/image/draw does not (its BiLinear kernel works in other
// fixed-point steps); resize_test.go measures both.
//
// One departure is deliberate: where pictures of one batch differ in size,
// the reference marks the padded rest as class 0; here it is ignored.
//
// Labels inside this package are class numbers from 0, and -1 for ignored.
package data
