// The rows of the table as launches, one function per kind of formula and type computed in. unary_*.cu and binary_*.cu
// instantiate some of them each, so that no file compiles for long.
#pragma once
#ifdef __CUDACC__
#pragma nv_diag_suppress 186  // formulas compare with 0 whether or not the type has a sign
#endif
#include "cuda/elementwise.h"
#include "math/binary.h"
#include "math/unary.h"

namespace lamina::cuda {

// Formulas that are long enough to be bound by arithmetic: a thread takes one element.
template <class F, class T>
inline constexpr bool kLong = false;
#define LM_LONG(NAME, CONDITION) \
  template <class T>             \
  inline constexpr bool kLong<math::NAME, T> = CONDITION;
LM_LONG(Lgamma, true)
LM_LONG(Digamma, true)
LM_LONG(Polygamma, true)
LM_LONG(Erfinv, true)
LM_LONG(FloorDivide, sizeof(T) == 8)
LM_LONG(Remainder, sizeof(T) == 8)
LM_LONG(Fmod, sizeof(T) == 8)
#undef LM_LONG

template <class F, class T, class R, int V, int kUnits, Types kIn>
void launch_formula(Stream stream, unsigned blocks, const void* layout, const void* f) {
  launch(elementwise_kernel<F, T, R, V, kUnits, kIn>, blocks, kElementwiseThreads, 0, stream,
         *static_cast<const Layout<F::kInputs + 1>*>(layout), *static_cast<const F*>(f));
}

// Computed in T with results R. Formulas on integers read no floating-point numbers: promotion makes those floating.
template <class F, class T>
constexpr FormulaKernels formula_kernels() {
  using Math = decltype(F::f);
  using R = std::conditional_t<Math::kPredicate, bool, T>;
  constexpr bool kSlow = std::is_same_v<T, double> && Math::kDomain == math::Domain::kFloat;
  constexpr int V = std::min<int>(kPack<T>, 8), kUnits = F::kInputs == 1 ? 4 : 2;
  constexpr int kWhole = kLong<Math, T> ? 0 : kSlow || sizeof(T) < 4 ? kUnits / 2 : kUnits;
  constexpr int kSingle = kLong<Math, T> ? 1 : kSlow ? 2 : 4;
  constexpr Types kAny = std::is_integral_v<T> ? Types::Integral : Types::Any;
  FormulaKernels kernels{F::kInputs + 1, V, kWhole, kSingle, nullptr, launch_formula<F, T, R, 1, kSingle, kAny>};
  if constexpr (kWhole > 0) kernels.launch_whole = launch_formula<F, T, R, V, kWhole, Types::Computed>;
  return kernels;
}

// `skipped` is an input that the formula does not read.
template <class F, class T>
void run_row(Stream stream, const ElementwiseJob& job, int skipped = -1) {
  static constexpr FormulaKernels kKernels = formula_kernels<F, T>();
  F f{};
  if constexpr (!std::is_empty_v<decltype(F::f)>) f.f = *static_cast<const decltype(F::f)*>(job.functor);
  run_formula(stream, kKernels, &f, job, skipped);
}

template <class Math, class T>
inline constexpr bool kDefined =
    std::is_floating_point_v<T> ? Math::kDomain != math::Domain::kIntegral : Math::kDomain != math::Domain::kFloat;

template <class T>
void unary_row(Stream stream, const ElementwiseJob& job) {
  switch (UnaryId(job.formula.id)) {
#define UNARY(name, Functor, ...)                                                                          \
  case UnaryId::name:                                                                                      \
    if constexpr (kDefined<math::Functor, T>) return run_row<UnaryFormula<math::Functor>, T>(stream, job); \
    break;
#define UNARY_ATTRS UNARY
#include "ops.def"
  }
  no_such_row(job);
}

template <class F, class T>
void run_unary_gradient(Stream stream, const ElementwiseJob& job) {
  if constexpr (requires(F f, T v) { f.df_y(v); } || requires(F f, T v) { f.df_x(v); })
    run_row<UnaryGradient<F>, T>(stream, job);
  else
    no_such_row(job);
}
template <class T>
void unary_gradient_row(Stream stream, const ElementwiseJob& job) {
  switch (UnaryId(job.formula.id)) {
#define UNARY(name, Functor, ...) \
  case UnaryId::name:             \
    return run_unary_gradient<math::Functor, T>(stream, job);
#define UNARY_ATTRS UNARY
#include "ops.def"
  }
  no_such_row(job);
}

template <class T>
void binary_row(Stream stream, const ElementwiseJob& job) {
  switch (BinaryId(job.formula.id)) {
#define BINARY(name, Functor, ...)                                                                          \
  case BinaryId::name:                                                                                      \
    if constexpr (kDefined<math::Functor, T>) return run_row<BinaryFormula<math::Functor>, T>(stream, job); \
    break;
#include "ops.def"
  }
  no_such_row(job);
}

template <class F, class T>
void run_binary_gradient(Stream stream, const ElementwiseJob& job) {
  if constexpr (requires(F f, T v) { f.da_b(v); } || requires(F f, T v) { f.da(v, v); })
    if (job.formula.kind == Formula::BinaryGradA)
      return run_row<BinaryGradient<F, 0>, T>(stream, job, BinaryGradient<F, 0>::kReads ? 1 : -1);
  if constexpr (requires(F f, T v) { f.db_a(v); } || requires(F f, T v) { f.db(v, v); })
    if (job.formula.kind == Formula::BinaryGradB)
      return run_row<BinaryGradient<F, 1>, T>(stream, job, BinaryGradient<F, 1>::kReads ? 2 : -1);
  no_such_row(job);
}
template <class T>
void binary_gradient_row(Stream stream, const ElementwiseJob& job) {
  switch (BinaryId(job.formula.id)) {
#define BINARY(name, Functor, ...) \
  case BinaryId::name:             \
    return run_binary_gradient<math::Functor, T>(stream, job);
#include "ops.def"
  }
  no_such_row(job);
}

}  // namespace lamina::cuda
