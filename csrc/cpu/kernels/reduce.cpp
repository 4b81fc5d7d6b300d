// The loops of every reduction: rows (reduced elements lie side by side) and columns (results lie side by side). See
// kernel/reduce.h for the job, reduce_states.h for what is done to the elements.
#include "cpu/kernels/reduce_states.h"

namespace lamina::cpu::LM_ISA {
namespace {

constexpr int64_t kBlock = 1024;  // a run in a row: two passes over it hit the first cache
constexpr int64_t kRows = 64;     // rows of a tile joined in the dtype before they are merged in double

LM_FN int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Steps through the outer `n` loops of a nest, keeping the offset.
struct Walk {
  const Loops& loops;
  int n;
  int64_t offset = 0, at[16];

  [[gnu::noinline]] Walk(const Loops& nest, int levels, int64_t start) : loops(nest), n(levels) {
    for (int d = n - 1; d >= 0; --d) {
      at[d] = d > 0 || start >= loops.size[d] ? start % loops.size[d] : start;
      offset += at[d] * loops.stride[d];
      start /= loops.size[d];
    }
  }
  [[gnu::noinline]] void next() {
    for (int d = n - 1; d >= 0; --d) {
      offset += loops.stride[d];
      if (++at[d] < loops.size[d]) return;
      offset -= at[d] * loops.stride[d];
      at[d] = 0;
    }
  }
};

template <class R>
LM_FN void emit(const R& r, const ReduceJob& job, const typename R::State& s, int64_t result, void* states) {
  if (states)
    *reinterpret_cast<typename R::State*>(static_cast<char*>(states) + result * kStateBytes) = s;
  else
    r.finish(s, job, result);
}

template <class R>
void rows_part(const R& r, const ReduceJob& job, int64_t begin, int64_t end, int64_t from, int64_t to, void* states) {
  const auto* x = static_cast<const typename R::T*>(job.x);
  const Loops& reduced = job.reduced;
  Walk kept(job.kept, job.kept.n, begin);
  for (int64_t o = begin; o < end; ++o, kept.next()) {
    auto s = r.init();
    if (reduced.n <= 1) {
      for (int64_t i = from; i < to; i += kBlock) r.block(s, x + kept.offset + i, smaller(kBlock, to - i), i);
    } else if (from < to) {
      const int64_t n = reduced.size[reduced.n - 1];
      Walk outer(reduced, reduced.n - 1, from / n);
      for (int64_t i = from, at = from % n; i < to; outer.next(), at = 0) {
        const auto* run = x + kept.offset + outer.offset;
        for (; at < n && i < to;) {
          const int64_t step = smaller(kBlock, smaller(n - at, to - i));
          r.block(s, run + at, step, i);
          at += step;
          i += step;
        }
      }
    }
    emit(r, job, s, o, states);
  }
}

template <class R>
void columns_part(const R& r, const ReduceJob& job, int64_t begin, int64_t end, int64_t from, int64_t to,
                  void* states) {
  const auto* x = static_cast<const typename R::T*>(job.x);
  const Loops& kept = job.kept;
  const int64_t columns = kept.size[kept.n - 1], tiles = (columns + kColumnTile - 1) / kColumnTile;
  typename R::State s[kColumnTile];
  const typename R::T* rows[kRows];
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t outer = unit / tiles, column = unit % tiles * kColumnTile;
    const int64_t n = smaller(kColumnTile, columns - column);
    const auto* base = x + Walk(kept, kept.n - 1, outer).offset + column;
    for (int64_t c = 0; c < n; ++c) s[c] = r.init();
    if (from < to) {
      Walk walk(job.reduced, job.reduced.n, from);
      for (int64_t i = from; i < to; i += kRows) {
        const int64_t nrows = smaller(kRows, to - i);
        for (int64_t k = 0; k < nrows; ++k, walk.next()) rows[k] = base + walk.offset;
        r.columns(rows, nrows, i, n, s);
      }
    }
    for (int64_t c = 0; c < n; ++c) emit(r, job, s[c], outer * columns + column + c, states);
  }
}

// Calls f with the state of the job's kind over elements of T.
template <class T, class F>
LM_FN void with_state(const ReduceJob& job, F f) {
  using W = Wide<T>;
  switch (job.kind) {
    case Reduce::Sum:
      return f(Fold<T, W, W, Same, Add>{});
    case Reduce::Prod:
      return f(Fold<T, W, W, Same, Multiply>{});
    case Reduce::Max:
      return f(Fold<T, T, T, Same, Larger>{});
    case Reduce::Min:
      return f(Fold<T, T, T, Same, Smaller>{});
    case Reduce::ArgMax:
      return f(Extreme<T, Larger>{});
    case Reduce::ArgMin:
      return f(Extreme<T, Smaller>{});
    case Reduce::Any:
      return f(Fold<T, uint8_t, uint8_t, NonZero, Or>{});
    case Reduce::All:
      return f(Fold<T, uint8_t, uint8_t, NonZero, And>{});
    case Reduce::CountNonzero:
      return f(Fold<T, int64_t, int64_t, NonZero, Add>{});
    default:
      break;
  }
  if constexpr (kFloat<T>) {
    switch (job.kind) {
      case Reduce::NanSum:
        return f(Fold<T, T, T, NanToZero, Add>{});
      case Reduce::SumAbs:
        return f(Fold<T, T, T, Abs, Add>{});
      case Reduce::SumSquare:
        return f(Fold<T, T, T, Square, Add>{});
      case Reduce::SumPow:
        return f(Fold<T, T, T, Power, Add>{Power{job.p}});
      case Reduce::MaxAbs:
        return f(Fold<T, T, T, Abs, Larger>{});
      case Reduce::MinAbs:
        return f(Fold<T, T, T, Abs, Smaller>{});
      case Reduce::Var:
        return f(Moments<T>{});
      case Reduce::LogSumExp:
        return f(LogSum<T>{});
      default:
        break;
    }
  }
}

template <class F>
LM_FN void dispatch(const ReduceJob& job, F f) {
  switch (job.dtype) {
    case DType::Bool:
    case DType::U8:
      return with_state<uint8_t>(job, f);
    case DType::I8:
      return with_state<int8_t>(job, f);
    case DType::I16:
      return with_state<int16_t>(job, f);
    case DType::I32:
      return with_state<int32_t>(job, f);
    case DType::I64:
      return with_state<int64_t>(job, f);
    case DType::F32:
      return with_state<float>(job, f);
    case DType::F64:
      return with_state<double>(job, f);
    default:
      break;  // f16 and bf16 are reduced in float
  }
}

}  // namespace

void reduce_part(const ReduceJob& job, int64_t begin, int64_t end, int64_t from, int64_t to, void* states) {
  dispatch(job, [&](const auto& r) {
    if (job.columns)
      columns_part(r, job, begin, end, from, to, states);
    else
      rows_part(r, job, begin, end, from, to, states);
  });
}

void reduce_finish(const ReduceJob& job, int64_t begin, int64_t end, int64_t pieces, int64_t results, void* states) {
  dispatch(job, [&]<class R>(const R& r) {
    for (int64_t o = begin; o < end; ++o) {
      auto s = r.init();
      for (int64_t p = 0; p < pieces; ++p)
        r.merge(s, *reinterpret_cast<typename R::State*>(static_cast<char*>(states) + (p * results + o) * kStateBytes));
      r.finish(s, job, o);
    }
  });
}

}  // namespace lamina::cpu::LM_ISA
