// Formulas of one operand in double.
#include "cuda/elementwise_rows.h"

namespace lamina::cuda {

template void unary_row<double>(Stream, const ElementwiseJob&);

}  // namespace lamina::cuda
