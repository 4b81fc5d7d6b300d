// Derivatives of formulas of two operands.
#include "cuda/elementwise_rows.h"

namespace lamina::cuda {

template void binary_gradient_row<float>(Stream, const ElementwiseJob&);
template void binary_gradient_row<double>(Stream, const ElementwiseJob&);

}  // namespace lamina::cuda
