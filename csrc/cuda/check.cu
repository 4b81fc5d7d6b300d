// Launchers of kernel/check.h.
#include "kernel/check.h"

#include "cuda/kernels/check.cuh"
#include "cuda/launch.h"

namespace lamina::cuda {

int64_t check_index(Stream stream, const IndexCheck& job) {
  launch(check_index_kernel, blocks_for(job.n, 256), 256, 0, stream, job.index, job.out, job.n, job.low, job.size,
         Reporter{device_report(stream), job.complaint});
  return -1;
}

int64_t check_values(Stream stream, const ValueCheck& job) {
  const auto check = [&]<class T>() {
    launch(check_values_kernel<T>, blocks_for(job.n, 256), 256, 0, stream, static_cast<const T*>(job.x), job.n, job.low,
           job.high, job.allow_nan, Reporter{device_report(stream), job.complaint});
  };
  switch (job.dtype) {
    case DType::Bool:
      return check.template operator()<bool>(), -1;
    case DType::I64:
      return check.template operator()<int64_t>(), -1;
    case DType::F32:
      return check.template operator()<float>(), -1;
    default:
      return check.template operator()<double>(), -1;
  }
}

}  // namespace lamina::cuda
