// Formulas of one operand in float.
#include "cuda/elementwise_rows.h"

namespace lamina::cuda {

template void unary_row<float>(Stream, const ElementwiseJob&);

}  // namespace lamina::cuda
