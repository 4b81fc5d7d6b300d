// Matrix products by cuBLASLt. It sees column-major matrices, so a row-major C is computed as C^T = B^T A^T. What it
// needs for a shape (descriptors, and the algorithm that its heuristic chooses) is made once and kept.
#include "cuda/provider_cublaslt.h"

#include "cuda/memory.h"

namespace lamina::cuda {

using namespace cublaslt_api;

CublasLt::CublasLt()
    : Provider("cublaslt", {"LAMINA_CUBLASLT_PATH", {"libcublasLt.so.13", "libcublasLt.so.12"}, {"cu13", "cublas"}}) {
#define LM_FIND(RESULT, NAME, PARAMETERS) find(#NAME, NAME);
  LM_CUBLASLT(LM_FIND)
#undef LM_FIND
  if (!usable()) return;
  const size_t v = cublasLtGetVersion();  // 130002: 13.0.2
  version = str(v / 10000, ".", v / 100 % 100, ".", v % 100);
}

const CublasLt& cublaslt() {
  static const auto* one = new CublasLt;
  return *one;
}

namespace {

constexpr uint64_t kMostWorkspace = 32 << 20;

void check(int status, const char* call) {
  LM_CHECK(status == kSuccess, DeviceError, "cublaslt: ", call, " failed: ", cublaslt().cublasLtGetStatusName(status));
}
#define LM_CALL(FUNCTION, ...) check(cublaslt().FUNCTION(__VA_ARGS__), #FUNCTION)

// (rows, columns) in column-major order: as it lies, or its transpose.
struct Matrix {
  const void* data;
  int64_t rows, columns, ld, batch_step;
  bool transposed;
};
std::optional<Matrix> matrix(const void* data, int64_t rows, int64_t columns, int64_t row_step, int64_t column_step,
                             int64_t batch_step) {
  if (columns == 1) column_step = std::max(column_step, rows);
  if (rows == 1) row_step = std::max(row_step, columns);
  if ((row_step == 1 || rows == 1) && column_step >= rows)
    return Matrix{data, rows, columns, column_step, batch_step, false};
  if ((column_step == 1 || columns == 1) && row_step >= columns)
    return Matrix{data, columns, rows, row_step, batch_step, true};
  return {};
}

struct Product {
  Matrix a, b, d;
  int type, compute_type, scale_type;
  int32_t batch;
  uint32_t alignment;
  const void* bias;
  double alpha, beta;
};

struct Plan {
  void* desc = nullptr;
  void *a = nullptr, *b = nullptr, *d = nullptr;
  Heuristic best{};
  bool works = false;
};

template <class T>
void set(void* desc, int attribute, T value) {
  LM_CALL(cublasLtMatmulDescSetAttribute, desc, attribute, &value, sizeof value);
}
template <class T>
void prefer(void* preference, int attribute, T value) {
  LM_CALL(cublasLtMatmulPreferenceSetAttribute, preference, attribute, &value, sizeof value);
}

void* make_layout(const Product& p, const Matrix& m) {
  void* layout = nullptr;
  LM_CALL(cublasLtMatrixLayoutCreate, &layout, p.type, uint64_t(m.rows), uint64_t(m.columns), m.ld);
  LM_CALL(cublasLtMatrixLayoutSetAttribute, layout, kBatchCount, &p.batch, sizeof p.batch);
  LM_CALL(cublasLtMatrixLayoutSetAttribute, layout, kBatchStride, &m.batch_step, sizeof m.batch_step);
  return layout;
}

Plan make_plan(void* handle, const Product& p) {
  Plan plan;
  LM_CALL(cublasLtMatmulDescCreate, &plan.desc, p.compute_type, p.scale_type);
  set(plan.desc, kTransposeA, int32_t(p.a.transposed));
  set(plan.desc, kTransposeB, int32_t(p.b.transposed));
  if (p.bias) {
    set(plan.desc, kEpilogue, uint32_t(kEpilogueBias));
    set(plan.desc, kBiasPointer, uintptr_t(p.alignment));  // no more than that may be expected of those that come
  }
  plan.a = make_layout(p, p.a), plan.b = make_layout(p, p.b), plan.d = make_layout(p, p.d);
  void* preference = nullptr;
  LM_CALL(cublasLtMatmulPreferenceCreate, &preference);
  prefer(preference, kWorkspaceBytes, kMostWorkspace);
  prefer(preference, kReductionSchemes, uint32_t(kSumInComputeType));
  for (int i = 0; i < 4; ++i) prefer(preference, kAlignmentA + i, p.alignment);
  int found = 0;
  const int status = cublaslt().cublasLtMatmulAlgoGetHeuristic(handle, plan.desc, plan.a, plan.b, plan.d, plan.d,
                                                               preference, 1, &plan.best, &found);
  LM_CALL(cublasLtMatmulPreferenceDestroy, preference);
  if (status != kNotSupported) check(status, "cublasLtMatmulAlgoGetHeuristic");
  plan.works = status == kSuccess && found > 0 && plan.best.status == kSuccess;
  return plan;
}

bool multiply(Stream stream, const std::string& key, const Product& p, void* out) {
  auto& plans = Plans<Plan>::of(stream);
  const std::scoped_lock lock(plans.mutex);  // a plan has one pointer to a bias
  const Plan* found = plans.find(stream, key, [&] {
    if (!plans.handle) LM_CALL(cublasLtCreate, &plans.handle);
    return make_plan(plans.handle, p);
  });
  if (!found || !found->works) return false;
  const Plan& plan = *found;
  const Workspace workspace(stream, plan.best.workspace_bytes);
  queue_call(stream, [=, &plan, handle = plans.handle, memory = workspace.as<void>()] {
    const float scale[2] = {float(p.alpha), float(p.beta)};
    const double wide_scale[2] = {p.alpha, p.beta};
    const bool wide = p.scale_type == kDouble;
    const void* alpha = wide ? static_cast<const void*>(&wide_scale[0]) : &scale[0];
    const void* beta = wide ? static_cast<const void*>(&wide_scale[1]) : &scale[1];
    if (p.bias) set(plan.desc, kBiasPointer, p.bias);
    LM_CALL(cublasLtMatmul, handle, plan.desc, alpha, p.a.data, plan.a, p.b.data, plan.b, beta, out, plan.d, out,
            plan.d, &plan.best.algorithm, memory, plan.best.workspace_bytes, stream.handle);
  });
  return true;
}

}  // namespace

std::optional<Offer> cublaslt_offer(Stream stream, const GemmProblem& p, const GemmEpilogue& e) {
  const double work = double(p.m) * double(p.n) * double(p.k) * double(p.batch);
  if (!cublaslt().usable() || !worth_offering(work) || e.relu || p.a_offsets || p.b_offsets || p.k == 0 ||
      p.batch > INT32_MAX)
    return {};
  auto d = matrix(nullptr, p.n, p.m, p.c_col, p.c_row, p.c_batch);
  if (!d) return {};
  const bool row_major = !d->transposed;
  const auto a = row_major ? matrix(p.b, p.n, p.k, p.b_col, p.b_row, p.b_batch)
                           : matrix(p.a, p.m, p.k, p.a_row, p.a_col, p.a_batch);
  const auto b = row_major ? matrix(p.a, p.k, p.m, p.a_col, p.a_row, p.a_batch)
                           : matrix(p.b, p.k, p.n, p.b_row, p.b_col, p.b_batch);
  if (!a || !b || (e.bias && e.bias_per_row == row_major)) return {};

  const bool wide = p.dtype == DType::F64;
  const int type = wide ? kDouble : p.dtype == DType::F32 ? kFloat : p.dtype == DType::F16 ? kHalf : kBfloat;
  const auto address = uintptr_t(p.a) | uintptr_t(p.b) | uintptr_t(p.c) | uintptr_t(e.bias) | 16;
  const Product product{*a,
                        *b,
                        *d,
                        type,
                        wide ? kComputeDouble : kComputeFloat,
                        wide ? kDouble : kFloat,
                        int32_t(p.batch),
                        uint32_t(address & -address),
                        e.bias,
                        p.alpha,
                        p.beta};
  Key key(str("gemm ", p.dtype, " ").c_str());
  key.add(d->rows, d->columns, p.k, p.batch, product.alignment, e.bias != nullptr, p.beta != 0);
  for (const Matrix* m : {&product.a, &product.b, &product.d}) key.add(m->transposed, m->ld, m->batch_step);
  const int64_t span = (p.batch - 1) * p.c_batch + (d->columns - 1) * d->ld + d->rows;
  return Offer{cublaslt(), key.text, size_t(span * item_size(p.dtype)),
               [=](void* out) { return multiply(stream, key.text, product, out); }};
}

}  // namespace lamina::cuda
