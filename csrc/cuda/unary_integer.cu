// Formulas of one operand on integers.
#include "cuda/elementwise_rows.h"

namespace lamina::cuda {

template void unary_row<uint8_t>(Stream, const ElementwiseJob&);
template void unary_row<int8_t>(Stream, const ElementwiseJob&);
template void unary_row<int16_t>(Stream, const ElementwiseJob&);
template void unary_row<int32_t>(Stream, const ElementwiseJob&);
template void unary_row<int64_t>(Stream, const ElementwiseJob&);

}  // namespace lamina::cuda
