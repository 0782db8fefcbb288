package onnx

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// A form is a sum of integer multiples of atoms and a constant, over a common
// positive denominator: (2*H + W - 1) / 4. Atoms are the symbolic dimensions
// of the inputs and what arithmetic makes of them (floor((H+1)/2)). Two forms
// that are equal have equal text, which is how dimensions are compared.
type form struct {
	terms []term // sorted by atom, no zero coefficients
	c     int64
	den   int64 // > 0, no factor common to all
}

type term struct {
	atom string
	k    int64
}

// formLimit bounds every number in a form: far beyond any tensor, far below
// overflow of a product.
const formLimit = 1 << 30

// textLimit bounds the name of a derived dimension; longer ones get a fresh
// name instead.
const textLimit = 160

// algebra computes with forms and remembers what derived atoms stand for, so
// that floor(floor(x/2)/2) becomes floor(x/4).
type algebra struct {
	forms  map[string]form  // a dimension's text -> its form
	floors map[string]floor // a derived atom -> its meaning
}

// floor is the meaning of an atom: floor(num/den), num an integer form.
type floor struct {
	num form
	den int64
}

func newAlgebra() *algebra {
	return &algebra{forms: map[string]form{}, floors: map[string]floor{}}
}

// isConst reports whether f is an integer, and which.
func (f form) isConst() (int64, bool) { return f.c, len(f.terms) == 0 && f.den == 1 }

// text writes the form for people; equal forms have equal text.
func (f form) text() string {
	var b strings.Builder
	for _, t := range f.terms {
		switch {
		case t.k < 0:
			b.WriteByte('-')
		case b.Len() > 0:
			b.WriteByte('+')
		}
		if k := max(t.k, -t.k); k != 1 {
			b.WriteString(strconv.FormatInt(k, 10) + "*")
		}
		b.WriteString(t.atom)
	}
	if f.c != 0 || len(f.terms) == 0 {
		if f.c >= 0 && b.Len() > 0 {
			b.WriteByte('+')
		}
		b.WriteString(strconv.FormatInt(f.c, 10))
	}
	s := b.String()
	if f.den != 1 {
		return "(" + s + ")/" + strconv.FormatInt(f.den, 10)
	}
	return s
}

// reduce brings a form into its canonical shape; nil if a number is too large.
func reduce(f form) *form {
	slices.SortFunc(f.terms, func(a, b term) int { return cmp.Compare(a.atom, b.atom) })
	kept := f.terms[:0]
	for _, t := range f.terms {
		if n := len(kept); n > 0 && kept[n-1].atom == t.atom {
			kept[n-1].k += t.k
		} else {
			kept = append(kept, t)
		}
	}
	f.terms = slices.DeleteFunc(kept, func(t term) bool { return t.k == 0 })
	g := gcd(f.den, f.c)
	for _, t := range f.terms {
		g = gcd(g, t.k)
	}
	if g > 1 {
		f.c, f.den = f.c/g, f.den/g
		for i := range f.terms {
			f.terms[i].k /= g
		}
	}
	if f.den > formLimit || f.c > formLimit || f.c < -formLimit || len(f.terms) > 8 {
		return nil
	}
	for _, t := range f.terms {
		if t.k > formLimit || t.k < -formLimit {
			return nil
		}
	}
	return &f
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return max(a, -a)
}

// scaled returns the terms of f times k.
func scaled(f form, k int64) []term {
	t := slices.Clone(f.terms)
	for i := range t {
		t[i].k *= k
	}
	return t
}

// add returns f + sign*g.
func (a *algebra) add(f, g *form, sign int64) *form {
	if f == nil || g == nil {
		return nil
	}
	d := gcd(f.den, g.den)
	mf, mg := g.den/d, sign*(f.den/d)
	if !fits(*f, mf) || !fits(*g, mg) || !fits(form{c: f.den}, mf) {
		return nil
	}
	return reduce(form{terms: append(scaled(*f, mf), scaled(*g, mg)...), c: f.c*mf + g.c*mg, den: f.den * mf})
}

// fits reports whether f times k stays within what reduce can check.
func fits(f form, k int64) bool {
	return k >= -formLimit && k <= formLimit && f.c >= -formLimit && f.c <= formLimit
}

// mul returns f*g: exact where one is a number, else a new atom.
func (a *algebra) mul(f, g *form) *form {
	if f == nil || g == nil {
		return nil
	}
	if len(f.terms) == 0 {
		f, g = g, f
	}
	if len(g.terms) == 0 {
		if !fits(*f, g.c) || !fits(*g, f.den) {
			return nil
		}
		return reduce(form{terms: scaled(*f, g.c), c: f.c * g.c, den: f.den * g.den})
	}
	if f.den != 1 || g.den != 1 {
		return nil
	}
	x, y := factor(*f), factor(*g)
	if x > y {
		x, y = y, x
	}
	return a.atom(x + "*" + y)
}

// factor writes a form so that it can stand in a product.
func factor(f form) string {
	if len(f.terms) == 1 && f.c == 0 && f.den == 1 {
		return f.text()
	}
	return "(" + f.text() + ")"
}

// div returns f/g where that is a form; integer says that the quotient is
// rounded towards zero, as ONNX divides integers (dimensions are not
// negative, so that is floor).
func (a *algebra) div(f, g *form, integer bool) *form {
	if f == nil || g == nil {
		return nil
	}
	if len(g.terms) == 0 {
		if g.c == 0 {
			return nil
		}
		inv := form{c: g.den, den: g.c}
		if inv.den < 0 {
			inv.c, inv.den = -inv.c, -inv.den
		}
		q := a.mul(f, &inv)
		if integer {
			return a.floor(q)
		}
		return q
	}
	// A multiple of the divisor: (2*H+2*W)/(H+W).
	if len(f.terms) == len(g.terms) && f.den == g.den && f.terms[0].k%g.terms[0].k == 0 {
		k := f.terms[0].k / g.terms[0].k
		if k >= -formLimit && k <= formLimit && f.c == g.c*k && slices.Equal(f.terms, scaled(*g, k)) {
			return &form{c: k, den: 1}
		}
	}
	// A product with the divisor as a factor: C*H / H.
	if len(f.terms) == 1 && f.c == 0 && f.den == 1 && len(g.terms) == 1 && g.c == 0 && g.den == 1 && g.terms[0].k == 1 {
		if rest, ok := strings.CutPrefix(f.terms[0].atom, g.terms[0].atom+"*"); ok && !strings.ContainsAny(rest, "()*+-") {
			return a.mul(a.atom(rest), &form{c: f.terms[0].k, den: 1})
		}
		if rest, ok := strings.CutSuffix(f.terms[0].atom, "*"+g.terms[0].atom); ok && !strings.ContainsAny(rest, "()*+-") {
			return a.mul(a.atom(rest), &form{c: f.terms[0].k, den: 1})
		}
	}
	if !integer || f.den != 1 || g.den != 1 {
		return nil
	}
	return a.atom("floor(" + factor(*f) + "/" + factor(*g) + ")")
}

// floor rounds down.
func (a *algebra) floor(f *form) *form {
	if f == nil || f.den == 1 {
		return f
	}
	d := f.den
	out := form{den: 1}
	num := form{den: 1}
	for _, t := range f.terms {
		q, r := divmod(t.k, d)
		out.terms = append(out.terms, term{t.atom, q})
		if r != 0 {
			num.terms = append(num.terms, term{t.atom, r})
		}
	}
	q, r := divmod(f.c, d)
	out.c, num.c = q, r
	if len(num.terms) == 0 {
		return reduce(out)
	}
	// A common factor of the terms: floor((2x+1)/4) = floor(x/2).
	g := d
	for _, t := range num.terms {
		g = gcd(g, t.k)
	}
	if g > 1 {
		for i := range num.terms {
			num.terms[i].k /= g
		}
		num.c, d = num.c/g, d/g
	}
	// floor((floor(x/p)+c)/d) = floor((x+c*p)/(d*p)).
	if len(num.terms) == 1 && num.terms[0].k == 1 {
		if in, ok := a.floors[num.terms[0].atom]; ok && in.den*d <= formLimit && num.c*in.den <= formLimit {
			x := a.add(&in.num, &form{c: num.c * in.den, den: 1}, 1)
			if x == nil {
				return nil
			}
			whole := *x
			whole.den = in.den * d
			return a.add(a.floor(reduceKeep(whole)), reduce(out), 1)
		}
	}
	text := num.text()
	if num.c != 0 || len(num.terms) > 1 {
		text = "(" + text + ")"
	}
	atom := "floor(" + text + "/" + strconv.FormatInt(d, 10) + ")"
	at := a.atom(atom)
	if at == nil {
		return nil
	}
	a.floors[atom] = floor{num, d}
	return a.add(at, reduce(out), 1)
}

// reduceKeep is reduce on a copy of the terms.
func reduceKeep(f form) *form {
	f.terms = slices.Clone(f.terms)
	return reduce(f)
}

// ceil rounds up: -floor(-f), written as floor((num+den-1)/den).
func (a *algebra) ceil(f *form) *form {
	if f == nil || f.den == 1 {
		return f
	}
	g := form{terms: slices.Clone(f.terms), c: f.c + f.den - 1, den: f.den}
	return a.floor(reduce(g))
}

// atom returns the form of one symbol, nil if its text is too long.
func (a *algebra) atom(text string) *form {
	if len(text) > textLimit {
		return nil
	}
	return &form{terms: []term{{text, 1}}, den: 1}
}

func divmod(x, d int64) (q, r int64) {
	q, r = x/d, x%d
	if r < 0 {
		q, r = q-1, r+d
	}
	return q, r
}

// of returns the form of a dimension; nil if nothing is known of it.
func (a *algebra) of(d Dim) *form {
	if d.Size >= 0 {
		return &form{c: d.Size, den: 1}
	}
	if d.Param == "" {
		return nil
	}
	if f, ok := a.forms[d.Param]; ok {
		return &f
	}
	return a.atom(d.Param)
}

// dim returns the dimension of a form; the unknown dimension if there is none.
func (a *algebra) dim(f *form) Dim {
	if f == nil || f.den != 1 {
		return Dim{Size: -1}
	}
	if c, ok := f.isConst(); ok {
		if c < 0 {
			return Dim{Size: -1}
		}
		return Dim{Size: c}
	}
	text := f.text()
	if len(text) > textLimit {
		return Dim{Size: -1}
	}
	if len(f.terms) != 1 || f.c != 0 || f.terms[0].k != 1 {
		a.forms[text] = *f
	}
	return Dim{Size: -1, Param: text}
}
