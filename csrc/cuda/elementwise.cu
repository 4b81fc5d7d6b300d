// The door of elementwise jobs: which kind of formula, which type; and selection, which moves elements only.
#include "cuda/elementwise.h"

namespace lamina::cuda {

namespace {

template <class F>
void by_computed_type(DType compute, F&& f) {
  dispatch_types(compute, [&]<class T>() {
    if constexpr (std::is_same_v<T, bool>)
      f.template operator()<uint8_t>();
    else if constexpr (!std::is_same_v<T, f16> && !std::is_same_v<T, bf16>)
      f.template operator()<T>();
    else
      fail<RuntimeError>("cuda: formulas are not computed in ", compute);
  });
}

// Is the operand in memory what Types::Computed stands for?
bool is_computed(const ElementwiseArg& arg) {
  return arg.on_host || arg.dtype == arg.compute || (arg.compute == DType::F32 && is_half(arg.dtype));
}

// out = f(inputs); args[0] is the output.
void run_elementwise(Stream stream, const FormulaKernels& kernels, const void* f, int ndim, const int64_t* sizes,
                     const ElementwiseArg* args) {
  const int n = kernels.operands;
  if (!is_computed(args[0])) {  // in place into another dtype
    ElementwiseArg through[kMaxOperands];
    std::copy_n(args, n, through);
    const DType result = args[0].compute;
    int64_t total = 1, strides[kMaxDims];
    for (int d = ndim - 1; d >= 0; total *= sizes[d--]) strides[d] = total;
    const Workspace results(stream, size_t(total * item_size(result)));
    through[0] = {results.as<void>(), result, result, strides};
    run_elementwise(stream, kernels, f, ndim, sizes, through);
    return cuda::copy_strided(stream, ndim, sizes, const_cast<void*>(args[0].data), args[0].strides, args[0].dtype,
                              results.as<void>(), strides, result);
  }
  const Plan plan = make_plan(ndim, sizes, args, n);
  if (is_empty(plan)) return;
  bool whole = kernels.launch_whole && whole_units(plan, args, n, kernels.pack);
  for (int a = 1; a < n; ++a) whole = whole && is_computed(args[a]);
  for_parts(plan, args, n, [&](const Plan& part, const ElementwiseArg* at) {
    const bool packs = whole && whole_units(part, at, n, kernels.pack);
    const auto launch_with = [&]<int kOperands>() {
      const Layout<kOperands> layout = make_layout<kOperands>(part, at, packs ? kernels.pack : 1);
      const int units = packs ? kernels.whole_units : kernels.single_units;
      const unsigned blocks = std::max(blocks_for(layout.units, kElementwiseThreads * units), 1u);
      (packs ? kernels.launch_whole : kernels.launch_single)(stream, blocks, &layout, f);
    };
    if (n == 2) return launch_with.template operator()<2>();
    if (n == 3) return launch_with.template operator()<3>();
    launch_with.template operator()<4>();
  });
}

void select(Stream stream, const ElementwiseJob& job) {
  constexpr int kArgs = 4;
  ElementwiseArg args[kArgs] = {job.out, job.in[0], job.in[1], job.in[2]};
  const Plan plan = make_plan(job.ndim, job.sizes, args, kArgs);
  if (is_empty(plan)) return;
  bool moves = true;
  for (const ElementwiseArg& arg : args) moves = moves && (arg.on_host || arg.dtype == arg.compute);
  for_parts(plan, args, kArgs, [&](const Plan& part, const ElementwiseArg* at) {
    if (!moves)
      return dispatch_types(job.out.compute, [&]<class T>() {
        launch_elementwise<T, T, 1, 4, Types::Any>(stream, Selection{}, part, at);
      });
    dispatch_size(item_size(job.out.compute), [&]<class T>() {
      constexpr int V = std::min<int>(kPack<T>, 8);
      if (whole_units(part, at, kArgs, V))
        launch_elementwise<T, T, V, 2, Types::Condition>(stream, Selection{}, part, at);
      else
        launch_elementwise<T, T, 1, 4, Types::Condition>(stream, Selection{}, part, at);
    });
  });
}

}  // namespace

void convert_number(DType from, const void* src, DType to, void* dst) {
  lamina::dispatch_all(from, [&]<class From>() {
    lamina::dispatch_all(to, [&]<class To>() {
      constexpr bool kToInt = std::is_integral_v<To> && sizeof(To) < 4, kFromInt = std::is_integral_v<From>;
      using Halfway = std::conditional_t<std::is_class_v<To>, float, std::conditional_t<kToInt && !kFromInt, int, To>>;
      const From x = *static_cast<const From*>(src);
      if constexpr (std::is_same_v<To, bool>)
        *static_cast<To*>(dst) = x != From(0);
      else if constexpr (std::is_same_v<To, From>)
        *static_cast<To*>(dst) = x;
      else
        *static_cast<To*>(dst) = To(Halfway(x));
    });
  });
}

void run_formula(Stream stream, const FormulaKernels& kernels, const void* f, const ElementwiseJob& job, int skipped) {
  ElementwiseArg args[kMaxOperands] = {job.out};
  for (int i = 0, n = 1; i < job.n_in; ++i)
    if (i != skipped) args[n++] = job.in[i];
  run_elementwise(stream, kernels, f, job.ndim, job.sizes, args);
}

void elementwise(Stream stream, const ElementwiseJob& job) {
  if (job.formula.kind == Formula::Select) return select(stream, job);
  by_computed_type(job.in[0].compute, [&]<class T>() {
    constexpr bool kFloat = std::is_floating_point_v<T>;
    switch (job.formula.kind) {
      case Formula::Unary:
        return unary_row<T>(stream, job);
      case Formula::Binary:
        return binary_row<T>(stream, job);
      case Formula::UnaryGrad:
        if constexpr (kFloat) return unary_gradient_row<T>(stream, job);
        break;
      default:
        if constexpr (kFloat) return binary_gradient_row<T>(stream, job);
    }
    no_such_row(job);
  });
}

}  // namespace lamina::cuda
