// dropout. The one idea: the mask is a function of a seed and a position (core/philox.h), so it is not stored; the
// gradient is the same operator, with the same numbers, applied to the gradient. Next: embedding.cpp.
#include <cmath>

#include "autograd/apply.h"
#include "core/rng.h"
#include "kernel/embedding.h"
#include "kernel/random.h"
#include "ops/ops.h"

namespace lamina {
namespace {

// Values are numbered in the memory order of `strides`, so x and its gradient are read in one order.
struct Dropout {
  static constexpr const char* kName = "dropout";
  double p;
  Philox philox;
  Shape strides;

  Tensor forward(Ctx&, const Tensor& input) const {
    Tensor x = input;
    if (!(x.strides() == strides)) {
      x = empty_strided_tensor(input.sizes(), strides, input.dtype(), input.device());
      copy_into(x, input);
    }
    Tensor y = empty_strided_tensor(x.sizes(), strides, x.dtype(), x.device());
    // Dropped where 32 random bits are below p 2^32; p = 1 drops all by a factor of zero.
    const uint32_t threshold = uint32_t(std::min(std::ldexp(p, 32), 4294967295.0));
    const double scale = p < 1 ? 1 / (1 - p) : 0;
    kernel::dropout_apply(stream_of(x.device()), x.itemsize(), x.data(), y.data(), x.numel(), threshold, scale, philox);
    return y;
  }
  // dropout is linear: its gradient is itself, and so is that gradient's gradient. Nothing is saved.
  Grads backward(Ctx&, const Tensor& grad) const { return {apply(*this, grad)}; }
};

}  // namespace

// Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
Tensor dropout(const Tensor& input, double p, bool training) {
  LM_CHECK(p >= 0 && p <= 1, ValueError, "dropout: p is ", p, "; need 0 <= p <= 1");
  LM_CHECK(input.is_floating(), TypeError, "dropout: input is ", input.dtype(), "; need a floating-point tensor");
  if (!training || p == 0) return input;
  const Tensor x = cast(input, compute_type(input.dtype()));
  // A channels-last tensor stays channels-last; anything with gaps or repeats becomes row-major.
  const Shape strides = is_dense(x.sizes(), x.strides()) ? x.strides() : row_major(x.sizes());
  const Dropout op{p, default_generator().take(random_blocks(x.numel(), 4), x.device()), strides};
  return cast(apply(op, x), input.dtype());
}

}  // namespace lamina
