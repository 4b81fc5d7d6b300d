// The copies declared in kernel/copy.h: elementwise jobs of the formula y = x, transposes by tiles, sums into views.
#include "cuda/kernels/copy.cuh"

#include "cuda/elementwise.h"

namespace lamina::cuda {

namespace {

// The dimension along which the source is dense where that is not the destination's; -1 if there is none.
int transposed_dim(const Plan& plan) {
  constexpr int64_t kWorth = 8;
  if (plan.strides[0][0] != 1 || plan.strides[1][0] <= 1 || plan.sizes[0] < kWorth) return -1;
  for (int d = 1; d < plan.ndim; ++d)
    if (plan.strides[1][d] == 1 && plan.sizes[d] >= kWorth) return d;
  return -1;
}

template <class T, Types kIn>
void copy_transposed(Stream stream, const Plan& plan, int row_dim, const ElementwiseArg* args) {
  Plan matrices = plan;
  matrices.sizes[0] = matrices.sizes[row_dim] = 1;
  const int rows = int(plan.sizes[row_dim]), columns = int(plan.sizes[0]);
  const unsigned row_tiles = blocks_for(rows, kTile), column_tiles = blocks_for(columns, kTile);
  const Transposition p{make_layout<2>(matrices, args, 1),
                        rows,
                        columns,
                        int(plan.strides[0][row_dim]),
                        int(plan.strides[1][0]),
                        make_divider(row_tiles),
                        make_divider(column_tiles)};
  launch(transpose_kernel<T, kIn>, row_tiles * column_tiles * unsigned(p.matrices.units), dim3(kTile, kTileRows), 0,
         stream, p);
}

template <class T, int V, Types kIn>
void copy_as(Stream stream, const Plan& plan, const ElementwiseArg* args) {
  if (const int row_dim = transposed_dim(plan); row_dim >= 0)
    copy_transposed<T, kIn>(stream, plan, row_dim, args);
  else if (whole_units(plan, args, 2, V))
    launch_elementwise<T, T, V, 4, kIn>(stream, Copy{}, plan, args);
  else
    launch_elementwise<T, T, 1, 4, kIn>(stream, Copy{}, plan, args);
}

void copy(Stream stream, int ndim, const int64_t* sizes, const ElementwiseArg (&args)[2]) {
  const Plan plan = make_plan(ndim, sizes, args, 2);
  if (is_empty(plan)) return;
  for_parts(plan, args, 2, [&](const Plan& part, const ElementwiseArg* at) {
    if (at[0].dtype == at[1].dtype)
      dispatch_size(item_size(at[0].dtype),
                    [&]<class T>() { copy_as<T, kPack<T>, Types::Computed>(stream, part, at); });
    else
      dispatch_types(at[0].dtype, [&]<class T>() { copy_as<T, 4, Types::Any>(stream, part, at); });
  });
}

// Some of a job's dimensions.
struct Dims {
  int n = 0, d[kMaxDims] = {};
  void add(int dim) { d[n++] = dim; }

  // Whether all elements of a view with these dimensions are different: every stride steps over what is below it.
  bool all_different(const int64_t* sizes, const int64_t* strides) const {
    Dims sorted = *this;
    std::sort(sorted.d, sorted.d + n, [&](int a, int b) { return std::abs(strides[a]) < std::abs(strides[b]); });
    int64_t reach = 0;
    for (int i = 0; i < n; ++i) {
      const int64_t stride = std::abs(strides[sorted.d[i]]);
      if (stride <= reach) return false;
      reach += (sizes[sorted.d[i]] - 1) * stride;
    }
    return true;
  }

  Plan plan(const int64_t* sizes, const ElementwiseArg* args) const {
    int64_t chosen[kMaxDims], strides[2][kMaxDims];
    for (int i = 0; i < n; ++i) {
      chosen[i] = sizes[d[i]];
      for (int a = 0; a < 2; ++a) strides[a][i] = args[a].strides[d[i]];
    }
    ElementwiseArg along[2] = {args[0], args[1]};
    for (int a = 0; a < 2; ++a) along[a].strides = strides[a];
    return make_plan(n, chosen, along, 2);
  }
};

}  // namespace

void copy_strided(Stream stream, int ndim, const int64_t* sizes, void* dst, const int64_t* dst_strides, DType dst_dtype,
                  const void* src, const int64_t* src_strides, DType src_dtype) {
  copy(stream, ndim, sizes, {{dst, dst_dtype, dst_dtype, dst_strides}, {src, src_dtype, dst_dtype, src_strides}});
}

void fill_strided(Stream stream, int ndim, const int64_t* sizes, void* dst, const int64_t* dst_strides, DType dtype,
                  const void* value) {
  const int64_t zeros[kMaxDims] = {};
  copy(stream, ndim, sizes, {{dst, dtype, dtype, dst_strides}, {value, dtype, dtype, zeros, true}});
}

// Dimensions that repeat an element of dst are summed by one thread each. Those that overlap others (windows) take one
// launch per position; the rest, the longest first, reach different elements, one thread each. So every sum has a fixed
// order.
void add_strided(Stream stream, DType dtype, int ndim, const int64_t* sizes, void* dst, const int64_t* dst_strides,
                 const void* src, const int64_t* src_strides) {
  const ElementwiseArg args[2] = {{dst, dtype, dtype, dst_strides}, {src, dtype, dtype, src_strides}};
  Dims order, kept, folded, serial;
  for (int d = 0; d < ndim; ++d) {
    if (sizes[d] == 0) return;
    if (sizes[d] > 1) (dst_strides[d] == 0 ? folded : order).add(d);
  }
  std::stable_sort(order.d, order.d + order.n, [&](int a, int b) { return sizes[a] > sizes[b]; });
  int64_t rounds = 1;
  for (int i = 0; i < order.n; ++i) {
    const Dims before = kept;
    kept.add(order.d[i]);
    if (kept.all_different(sizes, dst_strides)) continue;
    kept = before;
    serial.add(order.d[i]);
    rounds *= sizes[order.d[i]];
  }
  const Plan inner = folded.plan(sizes, args), outer = kept.plan(sizes, args);
  for (int64_t round = 0; round < rounds; ++round) {
    ElementwiseArg here[2] = {args[0], args[1]};
    int64_t left = round;
    for (int i = serial.n - 1; i >= 0; --i) {
      const int d = serial.d[i];
      for (int a = 0; a < 2; ++a) here[a].data = element_at(here[a], left % sizes[d] * args[a].strides[d]);
      left /= sizes[d];
    }
    for_parts(inner, here, 2, [&](const Plan& some, const ElementwiseArg* from) {
      const Layout<2> sum = make_layout<2>(some, from, 1);
      for_parts(outer, from, 2, [&](const Plan& part, const ElementwiseArg* to) {
        const Layout<2> units = make_layout<2>(part, to, 1);
        const unsigned blocks = blocks_for(units.units, 256);
        if (dtype == DType::F32)
          launch(add_strided_kernel<float>, blocks, 256, 0, stream, units, sum);
        else
          launch(add_strided_kernel<double>, blocks, 256, 0, stream, units, sum);
      });
    });
  }
}

void copy_bands(Stream stream, int64_t itemsize, int64_t count, int64_t rows, int64_t n, const void* src, void* dst,
                bool upper, int64_t diagonal) {
  if (count == 0 || n == 0) return;
  LM_CHECK(n < INT32_MAX / 2 && rows < INT32_MAX / 2, ValueError, "triu, tril: a matrix of ", rows, " x ", n,
           " on cuda; need sizes below 2^30");
  const int64_t step = std::max<int64_t>(1, INT32_MAX / 2 / n);  // rows of a launch
  dispatch_size(itemsize, [&]<class T>() {
    for (int64_t row = 0; row < count; row += step) {
      const int total = int(std::min(step, count - row) * n);
      launch(copy_bands_kernel<T>, blocks_for(total, 256 * 4), 256, 0, stream, total, make_divider(n),
             make_divider(rows), int(row % rows), static_cast<const T*>(src) + row * n, static_cast<T*>(dst) + row * n,
             upper, diagonal);
    }
  });
}

}  // namespace lamina::cuda
