// The kernels of this library by name: every header that declares kernels is read once more, with the declaration
// turned into an entry of a table. A kernel that csrc/cuda does not define fails to link here.
#include "cuda/library.h"

#include <cstring>

#include "cuda/provider.h"

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
  ::lamina::OnStream<RESULT PARAMETERS>::Function NAME;                     \
  static const Listed listed_##NAME{#NAME, reinterpret_cast<void*>(&NAME)}; \
  }                                                                         \
  namespace cuda_kernel {                                                   \
  extern CudaKernel NAME;                                                   \
  }

#include "kernel/attention.h"
#include "kernel/check.h"
#include "kernel/clip.h"
#include "kernel/conv.h"
#include "kernel/copy.h"
#include "kernel/create.h"
#include "kernel/elementwise.h"
#include "kernel/embedding.h"
#include "kernel/gemm.h"
#include "kernel/index.h"
#include "kernel/loss.h"
#include "kernel/norm.h"
#include "kernel/optim.h"
#include "kernel/pooling.h"
#include "kernel/random.h"
#include "kernel/reduce.h"
#include "kernel/scan.h"
#include "kernel/softmax.h"
#include "kernel/sort.h"

const lamina::CudaLibrary* lamina_cuda_library() {
  static const lamina::CudaLibrary library = {
      .version = LAMINA_VERSION,
      .backend = &lamina::cuda::backend_table,
      .find_kernel = [](const char* name) -> void* {
        for (const auto* e = lamina::cuda::entries; e; e = e->next)
          if (std::strcmp(e->name, name) == 0) return e->function;
        return nullptr;
      },
      .providers = &lamina::cuda::providers,
  };
  return &library;
}
