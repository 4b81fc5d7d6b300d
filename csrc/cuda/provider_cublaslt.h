// The part of NVIDIA's cublasLt.h that provider_cublaslt.cpp needs, declared here: the build needs no header of theirs.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cuda/provider.h"
#include "kernel/gemm.h"

// F(result, name, parameters). Handles and descriptors are pointers, enumerations ints.
#define LM_CUBLASLT(F)                                                                                             \
  F(size_t, cublasLtGetVersion, ())                                                                                \
  F(const char*, cublasLtGetStatusName, (int status))                                                              \
  F(int, cublasLtCreate, (void** handle))                                                                          \
  F(int, cublasLtMatmulDescCreate, (void** desc, int compute_type, int scale_type))                                \
  F(int, cublasLtMatmulDescSetAttribute, (void* desc, int attribute, const void* value, size_t bytes))             \
  F(int, cublasLtMatrixLayoutCreate, (void** layout, int type, uint64_t rows, uint64_t columns, int64_t ld))       \
  F(int, cublasLtMatrixLayoutSetAttribute, (void* layout, int attribute, const void* value, size_t bytes))         \
  F(int, cublasLtMatmulPreferenceCreate, (void** preference))                                                      \
  F(int, cublasLtMatmulPreferenceDestroy, (void* preference))                                                      \
  F(int, cublasLtMatmulPreferenceSetAttribute, (void* preference, int attribute, const void* value, size_t bytes)) \
  F(int, cublasLtMatmulAlgoGetHeuristic,                                                                           \
    (void* handle, void* desc, void* a, void* b, void* c, void* d, void* preference, int asked,                    \
     cublaslt_api::Heuristic* results, int* found))                                                                \
  F(int, cublasLtMatmul,                                                                                           \
    (void* handle, void* desc, const void* alpha, const void* a, void* a_layout, const void* b, void* b_layout,    \
     const void* beta, const void* c, void* c_layout, void* d, void* d_layout, const cublaslt_api::Algorithm*,     \
     void* workspace, size_t workspace_bytes, void* stream))

namespace lamina::cuda {
namespace cublaslt_api {

struct Algorithm {
  uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};
enum : int {
  kSuccess = 0,
  kNotSupported = 15,
  kFloat = 0,  // cudaDataType_t
  kDouble = 1,
  kHalf = 2,
  kBfloat = 14,
  kComputeFloat = 68,  // never TF32
  kComputeDouble = 70,
  kTransposeA = 3,  // of a product; the value 1 is a transposed operand
  kTransposeB = 4,
  kEpilogue = 7,
  kBiasPointer = 8,
  kEpilogueBias = 4,  // one for each row of the (column-major) result
  kBatchCount = 5,    // of a layout
  kBatchStride = 6,
  kWorkspaceBytes = 1,  // of a preference
  kReductionSchemes = 3,
  kAlignmentA = 5,        // B, C and D follow
  kSumInComputeType = 2,  // the scheme that adds parts of k in float and in order
};

}  // namespace cublaslt_api

struct CublasLt : Provider {
  CublasLt();
#define LM_MEMBER(RESULT, NAME, PARAMETERS) RESULT(*NAME) PARAMETERS = nullptr;
  LM_CUBLASLT(LM_MEMBER)
#undef LM_MEMBER
};

const CublasLt& cublaslt();  // opened by the first call

// For products whose operands cuBLAS can read where they are.
std::optional<Offer> cublaslt_offer(Stream stream, const GemmProblem& problem, const GemmEpilogue& epilogue);

}  // namespace lamina::cuda
