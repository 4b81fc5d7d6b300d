// Formulas of two operands in float and double.
#include "cuda/elementwise_rows.h"

namespace lamina::cuda {

template void binary_row<float>(Stream, const ElementwiseJob&);
template void binary_row<double>(Stream, const ElementwiseJob&);

}  // namespace lamina::cuda
