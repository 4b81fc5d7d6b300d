// Formulas of two operands on integers.
#include "cuda/elementwise_rows.h"

namespace lamina::cuda {

template void binary_row<uint8_t>(Stream, const ElementwiseJob&);
template void binary_row<int8_t>(Stream, const ElementwiseJob&);
template void binary_row<int16_t>(Stream, const ElementwiseJob&);
template void binary_row<int32_t>(Stream, const ElementwiseJob&);
template void binary_row<int64_t>(Stream, const ElementwiseJob&);

}  // namespace lamina::cuda
