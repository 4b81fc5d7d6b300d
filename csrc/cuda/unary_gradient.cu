// Derivatives of formulas of one operand.
#include "cuda/elementwise_rows.h"

namespace lamina::cuda {

template void unary_gradient_row<float>(Stream, const ElementwiseJob&);
template void unary_gradient_row<double>(Stream, const ElementwiseJob&);

}  // namespace lamina::cuda
