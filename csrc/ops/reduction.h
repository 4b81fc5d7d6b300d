// The `reduction` argument of losses. Next: loss.cpp, cross_entropy.cpp.
#pragma once
#include <string>

#include "core/tensor.h"

namespace lamina {

enum class Reduction : uint8_t { None, Mean, Sum };
Reduction parse_reduction(const std::string& reduction, const char* op);

// Losses per element as the caller wants them: themselves, their sum, or their sum over `divisor`.
Tensor reduce_loss(const Tensor& losses, Reduction reduction, double divisor);

}  // namespace lamina
