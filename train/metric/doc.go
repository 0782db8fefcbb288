// Package metric measures predictions against labels: pixel accuracy, the
// confusion matrix, and what follows from it.
//
// Labels are class numbers; -1 takes no part. The reference project defines
// intersection over union of a class as
//
//	intersection / (union + 1e-10)
//
// over all pictures together, and mean IoU as the average over all classes.
// A class that occurs in neither labels nor predictions counts as 0 there;
// Summary gives that figure and, beside it, the mean over the classes that
// occur in the labels, with the absent ones as NaN ("n/a").
package metric
