package native

import (
	"fmt"
	"os"
)

// EnvSIMD is the environment variable that chooses narrower instructions than
// the processor has.
const EnvSIMD = "GRAFT_SIMD"

// CheckSIMD refuses values of GRAFT_SIMD that mean nothing; New takes them for
// none.
func CheckSIMD() error {
	switch v := os.Getenv(EnvSIMD); v {
	case "", "avx512", "avx2", "off":
		return nil
	default:
		return fmt.Errorf(`%s is %q; set it to "avx512" to do without AMX, to "avx2" to do without AVX-512 or to "off" for plain Go, or unset it for the widest instructions`, EnvSIMD, v)
	}
}
