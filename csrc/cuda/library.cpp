// The kernels of this library by name: every header that declares kernels is read once more, with the declaration
// turned into an entry of a table. Weak: a kernel that csrc/cuda does not have is null.
#include "cuda/library.h"

#include <cstring>

namespace lamina::cuda {
namespace {

struct Entry {
  const char* name;
  void* function;
  const Entry* next;
};
const Entry* entries = nullptr;

struct Listed : Entry {
  Listed(const char* name, void* function) : Entry{name, function, entries} { entries = this; }
};

}  // namespace
}  // namespace lamina::cuda

#define LM_CUDA_KERNEL(RESULT, NAME, PARAMETERS)                            \
  namespace cuda {                                                          \
  [[gnu::weak]] ::lamina::Job<RESULT PARAMETERS>::OnDevice NAME;            \
  static const Listed listed_##NAME{#NAME, reinterpret_cast<void*>(&NAME)}; \
  }                                                                         \
  namespace cuda_kernel {                                                   \
  extern CudaKernel NAME;                                                   \
  }

#include "cpu/attention.h"
#include "cpu/conv.h"
#include "cpu/copy.h"
#include "cpu/elementwise.h"
#include "cpu/embedding.h"
#include "cpu/gemm.h"
#include "cpu/index.h"
#include "cpu/loss.h"
#include "cpu/norm.h"
#include "cpu/optim.h"
#include "cpu/pooling.h"
#include "cpu/random.h"
#include "cpu/reduce.h"
#include "cpu/scan.h"
#include "cpu/softmax.h"
#include "cpu/sort.h"

const lamina::CudaLibrary* lamina_cuda_library() {
  static const lamina::CudaLibrary library = {LAMINA_VERSION, &lamina::cuda::backend_table,
                                              [](const char* name) -> void* {
                                                for (const auto* e = lamina::cuda::entries; e; e = e->next)
                                                  if (std::strcmp(e->name, name) == 0) return e->function;
                                                return nullptr;
                                              }};
  return &library;
}
