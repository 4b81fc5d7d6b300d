// Launchers of kernel/create.h.
#include "kernel/create.h"

#include "cuda/kernels/create.cuh"
#include "cuda/launch.h"

namespace lamina::cuda {

void fill_range(Stream stream, const Range& range, DType dtype, void* out, int64_t n) {
  dispatch_types(dtype, [&]<class T>() {
    launch(fill_range_kernel<T>, blocks_for(n, 256), 256, 0, stream, range, static_cast<T*>(out), n);
  });
}

void fill_triangle(Stream stream, const Triangle& triangle, int64_t* out, int64_t n) {
  launch(fill_triangle_kernel, blocks_for(n, 256), 256, 0, stream, triangle, out, n);
}

}  // namespace lamina::cuda
