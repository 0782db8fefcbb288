package metric_test

import (
	"fmt"

	"github.com/graft-onnx/graft/train/metric"
)

func Example() {
	c := metric.NewConfusion(3)
	if err := c.Add([]int32{0, 0, 1, 1}, []int32{0, 1, 1, -1}); err != nil {
		fmt.Println(err)
		return
	}
	s := c.Summary()
	fmt.Printf("accuracy %.3f, mean IoU %.3f, over present classes %.3f\n", s.Accuracy, s.MeanIoU, s.MeanIoUPresent)
	fmt.Printf("class 2: %v\n", s.PerClass[2].IoU)
	// Output:
	// accuracy 0.667, mean IoU 0.333, over present classes 0.500
	// class 2: NaN
}
