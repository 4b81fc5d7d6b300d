// Every function that a formula may call: the sum of the headers below, each for float, double and vectors of them
// (Tensor brings its own, found by the compiler next to the type).
// Vocabulary: + - * / comparisons & | !, select(cond, a, b), T(constant), abs sign copysign signbit isnan isinf
// isfinite round floor ceil trunc sqrt rsqrt hypot exp exp2 expm1 log log2 log10 log1p pow sigmoid sin cos tan asin
// acos atan atan2 sinh cosh tanh asinh acosh atanh erf erfc erfinv lgamma digamma polygamma(x, n) fmod remainder
// floor_divide nextafter. Next: functor.h.
#pragma once

#include "math/division.h"
#include "math/special.h"
