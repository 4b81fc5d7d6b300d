// What every formula says about itself: the dtypes it is defined for, and whether its result is bool.
// A formula is a struct with f and, in the name of its derivative, what the tape has to keep:
//   unary   df_y(y) the output, df_x(x) the input, df() nothing: a number
//   binary  da(), db() numbers; da_b(b), db_a(a) one operand; da(a, b), db(a, b) both
// None of these: not differentiable. Derivatives use the vocabulary of functions.h only, so that they can be evaluated
// on tensors and differentiated again; a branch that is not taken must not be infinite, for 0 * inf would be NaN there.
// Formulas with attributes have double members; the others are static. Next: unary.h, activations.h, binary.h.
#pragma once

#include "math/functions.h"

namespace lamina::math {

enum class Domain {
  kFloat,     // f32 and f64; integers and bool are converted to float first
  kNumeric,   // every dtype; integers stay integers
  kSigned,    // every dtype but bool
  kIntegral,  // integers and bool only
};

#define LM_ON(domain)                               \
  static constexpr Domain kDomain = Domain::domain; \
  static constexpr bool kPredicate = false
#define LM_PREDICATE(domain)                        \
  static constexpr Domain kDomain = Domain::domain; \
  static constexpr bool kPredicate = true  // the result is bool, or a Mask of lanes

}  // namespace lamina::math
