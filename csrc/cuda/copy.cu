// Launchers of the copies declared in cpu/copy.h.
#include "cpu/copy.h"

#include "cuda/kernels/copy.cuh"
#include "cuda/launch.h"

namespace lamina::cuda {

void copy_elements(Stream stream, int64_t itemsize, int64_t n, const void* src, int64_t src_stride, void* dst,
                   int64_t dst_stride) {
  dispatch_size(itemsize, [&]<class T>() {
    launch(copy_elements_kernel<T>, blocks_for(n, 256, multiprocessors(stream) * 8), 256, 0, stream, n,
           static_cast<const T*>(src), src_stride, static_cast<T*>(dst), dst_stride);
  });
}

void transpose_tile(Stream stream, int64_t itemsize, int64_t rows, int64_t columns, const void* src, int64_t src_stride,
                    void* dst, int64_t dst_stride) {
  const dim3 grid(blocks_for(rows, kTile), blocks_for(columns, kTile));
  dispatch_size(itemsize, [&]<class T>() {
    launch(transpose_kernel<T>, grid, dim3(kTile, kTileRows), 0, stream, rows, columns, static_cast<const T*>(src),
           src_stride, static_cast<T*>(dst), dst_stride);
  });
}

}  // namespace lamina::cuda
