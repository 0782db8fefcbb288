// Package config reads the settings of a training run.
//
// The file is the YAML file of the reference project (CSAILVision's
// semantic-segmentation-pytorch), read as it is: the sections DATASET, MODEL,
// TRAIN, VAL, TEST and the key DIR, with tuples such as (300, 375, 450)
// written the way Python writes them. Keys that are absent keep the
// reference's defaults; graft's own keys sit in the same sections and are
// described beside their fields.
//
//	c, err := config.Load("camvid.yaml", "TRAIN.num_epoch", "10", "DATASET.imgSizes", "(240,)")
//
// What is wrong with a file is told all at once: Load returns an *Errors whose
// entries name file, line and key, and the nearest known key when one is
// misspelt. YAML writes the resolved settings so that reading them back gives
// the same Config.
package config
