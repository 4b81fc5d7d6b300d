// Checks of what only the elements of a tensor can tell: indices in range, probabilities. The one idea: one text,
// thrown at once by the CPU, with where the element is, and by a GPU when it is next waited for (Note [Errors found on
// the device]), so that operators never wait to find out. Next: kernel/check.h.
#pragma once
#include <string>

#include "core/report.h"
#include "core/tensor.h"

namespace lamina {

// What '@' of a complaint stands for when element i, row-major, of x is bad; null where there is no '@'.
using Where = std::string (*)(const Tensor& x, int64_t i);
std::string at_position(const Tensor& x, int64_t i);  // " at position (0, 2)"
std::string at_element(const Tensor& x, int64_t i);   // " (element 2)"

// index as contiguous int64 with every element in [0, size) or, with `wrap`, in [-size, size) and made non-negative.
Tensor checked_index(const Tensor& index, int64_t size, bool wrap, const Complaint& complaint, Where where);
// With a complaint that names dimension `dim`, the size and the position.
Tensor checked_index(const Tensor& index, int64_t size, bool wrap, int dim, const char* op);

enum class NaN : bool { Refused, Allowed };
// Every element of x in [low, high].
void check_values(const Tensor& x, double low, double high, NaN nan, const Complaint& complaint, Where where);

}  // namespace lamina
