// Stands in for libcublasLt in the emulator: column-major products by three loops, with the checks that the real
// library makes.
#include "cuda/provider_cublaslt.h"

#include <cstring>

#include "elements.h"

using namespace lamina;
using namespace lamina::cuda::cublaslt_api;

namespace {

constexpr int kInvalid = 7;
constexpr uint64_t kWorkspace = 4096;
int calls = 0;

struct Desc {
  int compute_type, scale_type;
  int32_t transpose_a = 0, transpose_b = 0;
  uint32_t epilogue = 1;
  const void* bias = nullptr;
};
struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t ld;
  int32_t batch = 1;
  int64_t step = 0;
};
struct Preference {
  uint64_t workspace = 0;
  uint32_t schemes = 7, alignment[4] = {256, 256, 256, 256};
};

template <class T>
int assign(T& to, const void* value, size_t bytes) {
  if (bytes != sizeof(T)) return kInvalid;
  std::memcpy(&to, value, bytes);
  return kSuccess;
}

// What both the heuristic and the product refuse.
int check(const Desc& desc, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const bool wide = a.type == kDouble;
  const uint64_t m = desc.transpose_a ? a.columns : a.rows, k = desc.transpose_a ? a.rows : a.columns;
  const uint64_t k_of_b = desc.transpose_b ? b.columns : b.rows, n = desc.transpose_b ? b.rows : b.columns;
  bool valid = m == d.rows && n == d.columns && k == k_of_b && c.rows == d.rows && c.columns == d.columns;
  for (const Layout* l : {&a, &b, &c, &d})
    valid &= l->ld >= int64_t(l->rows) && l->batch == d.batch && l->type == a.type && l->rows > 0 && l->columns > 0;
  valid &= desc.compute_type == (wide ? kComputeDouble : kComputeFloat) && desc.scale_type == (wide ? kDouble : kFloat);
  if (!valid) return kInvalid;
  return wide && desc.epilogue != 1 ? kNotSupported : kSuccess;
}

}  // namespace

extern "C" {

int fake_calls() { return calls; }

size_t cublasLtGetVersion() { return 130100; }
const char* cublasLtGetStatusName(int status) {
  return status == kInvalid ? "CUBLAS_STATUS_INVALID_VALUE" : "CUBLAS_STATUS";
}
int cublasLtCreate(void** handle) {
  *handle = &calls;
  return kSuccess;
}
int cublasLtMatmulDescCreate(void** desc, int compute_type, int scale_type) {
  *desc = new Desc{compute_type, scale_type};
  return kSuccess;
}
int cublasLtMatmulDescSetAttribute(void* p, int attribute, const void* value, size_t bytes) {
  auto& desc = *static_cast<Desc*>(p);
  switch (attribute) {
    case kTransposeA:
      return assign(desc.transpose_a, value, bytes);
    case kTransposeB:
      return assign(desc.transpose_b, value, bytes);
    case kEpilogue:
      return assign(desc.epilogue, value, bytes);
    case kBiasPointer:
      return assign(desc.bias, value, bytes);
    default:
      return kInvalid;
  }
}
int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
  *layout = new Layout{type, rows, columns, ld};
  return kSuccess;
}
int cublasLtMatrixLayoutSetAttribute(void* p, int attribute, const void* value, size_t bytes) {
  auto& layout = *static_cast<Layout*>(p);
  if (attribute == kBatchCount) return assign(layout.batch, value, bytes);
  return attribute == kBatchStride ? assign(layout.step, value, bytes) : kInvalid;
}
int cublasLtMatmulPreferenceCreate(void** preference) {
  *preference = new Preference;
  return kSuccess;
}
int cublasLtMatmulPreferenceDestroy(void* preference) {
  delete static_cast<Preference*>(preference);
  return kSuccess;
}
int cublasLtMatmulPreferenceSetAttribute(void* p, int attribute, const void* value, size_t bytes) {
  auto& preference = *static_cast<Preference*>(p);
  if (attribute == kWorkspaceBytes) return assign(preference.workspace, value, bytes);
  if (attribute == kReductionSchemes) return assign(preference.schemes, value, bytes);
  const int operand = attribute - kAlignmentA;
  return operand >= 0 && operand < 4 ? assign(preference.alignment[operand], value, bytes) : kInvalid;
}
int cublasLtMatmulAlgoGetHeuristic(void*, void* desc, void* a, void* b, void* c, void* d, void* preference, int asked,
                                   Heuristic* results, int* found) {
  const auto& wanted = *static_cast<Preference*>(preference);
  *found = 0;
  if (asked < 1 || wanted.workspace < kWorkspace || wanted.schemes != kSumInComputeType) return kInvalid;
  const int status = check(*static_cast<Desc*>(desc), *static_cast<Layout*>(a), *static_cast<Layout*>(b),
                           *static_cast<Layout*>(c), *static_cast<Layout*>(d));
  if (status != kSuccess) return status;
  *results = {};
  for (int i = 0; i < 4; ++i) results->algorithm.data[i] = wanted.alignment[i];
  results->workspace_bytes = kWorkspace;
  *found = 1;
  return kSuccess;
}
int cublasLtMatmul(void*, void* desc_pointer, const void* alpha, const void* a, void* a_layout, const void* b,
                   void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                   const Algorithm* algorithm, void* workspace, size_t workspace_bytes, void*) {
  const auto& desc = *static_cast<Desc*>(desc_pointer);
  const auto &la = *static_cast<Layout*>(a_layout), &lb = *static_cast<Layout*>(b_layout),
             &lc = *static_cast<Layout*>(c_layout), &ld = *static_cast<Layout*>(d_layout);
  if (const int status = check(desc, la, lb, lc, ld); status != kSuccess) return status;
  const void* operands[] = {a, b, c, d};
  for (int i = 0; i < 4; ++i)
    if (uintptr_t(operands[i]) % algorithm->data[i] != 0) return kInvalid;
  if (workspace_bytes != kWorkspace) return kInvalid;
  std::memset(workspace, 1, workspace_bytes);
  const double scale_ab = load(alpha, desc.scale_type, 0), scale_c = load(beta, desc.scale_type, 0);
  const auto depth = int64_t(desc.transpose_a ? la.rows : la.columns);
  for (int64_t batch = 0; batch < ld.batch; ++batch)
    for (int64_t column = 0; column < int64_t(ld.columns); ++column)
      for (int64_t row = 0; row < int64_t(ld.rows); ++row) {
        double sum = 0;
        for (int64_t k = 0; k < depth; ++k) {
          const int64_t at_a = desc.transpose_a ? k + row * la.ld : row + k * la.ld;
          const int64_t at_b = desc.transpose_b ? column + k * lb.ld : k + column * lb.ld;
          sum += load(a, la.type, batch * la.step + at_a) * load(b, lb.type, batch * lb.step + at_b);
        }
        sum *= scale_ab;
        if (scale_c != 0) sum += scale_c * load(c, lc.type, batch * lc.step + row + column * lc.ld);
        if (desc.epilogue == kEpilogueBias) sum += load(desc.bias, ld.type, row);
        store(d, ld.type, batch * ld.step + row + column * ld.ld, sum);
      }
  ++calls;
  return kSuccess;
}

}  // extern "C"

// They are what is declared.
#define CHECK(RESULT, NAME, PARAMETERS) \
  static_assert(std::is_same_v<decltype(&::NAME), decltype(cuda::CublasLt::NAME)>);
LM_CUBLASLT(CHECK)
