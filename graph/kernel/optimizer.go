package kernel

// SGD is PyTorch's: g += decay*param; velocity = momentum*velocity + g;
// param -= lr*velocity, with Nesterov param -= lr*(g + momentum*velocity).
// hyper holds lr, momentum, decay.
// Args: hyper (3), grad, param, velocity.
type SGD struct {
	Len      int
	Nesterov bool
}

func (d SGD) Args() []Arg {
	s := []int{d.Len}
	return []Arg{{"hyper", []int{3}, Float32, In}, {"grad", s, Float32, In}, {"param", s, Float32, InOut}, {"velocity", s, Float32, InOut}}
}

// AdamW is PyTorch's, with decoupled weight decay: param *= keep;
// m = beta1*m + (1-beta1)*g; v = beta2*v + (1-beta2)*g*g;
// param -= rate * m / (sqrt(v)/root + eps). hyper holds, for step t from 1 on,
// keep = 1 - lr*decay, rate = lr/(1-beta1^t), beta1, 1-beta1, beta2, 1-beta2,
// root = sqrt(1-beta2^t), eps; the differences are taken before rounding.
// Args: hyper (8), grad, param, m, v.
type AdamW struct{ Len int }

func (d AdamW) Args() []Arg {
	s := []int{d.Len}
	return []Arg{{"hyper", []int{8}, Float32, In}, {"grad", s, Float32, In}, {"param", s, Float32, InOut}, {"m", s, Float32, InOut}, {"v", s, Float32, InOut}}
}

// Average follows a value: average += share * (value - average).
// Args: share (1), value, average.
type Average struct{ Len int }

func (d Average) Args() []Arg {
	s := []int{d.Len}
	return []Arg{{"share", []int{1}, Float32, In}, {"value", s, Float32, In}, {"average", s, Float32, InOut}}
}
