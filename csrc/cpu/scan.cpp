// The loops of scans. The one idea: with inner > 1 neighbouring lines advance together, so that memory is read in
// order; float32 lines carry their sum in double. See scan.h.
#include "kernel/scan.h"

#include <algorithm>
#include <cmath>

#include "core/errors.h"
#include "core/pool.h"

namespace lamina {
namespace {

constexpr int64_t kLines = 64;     // lines that advance together
constexpr int64_t kGrain = 16384;  // elements in a chunk

// Runs f(outer, first line, lines) for groups of neighbouring lines.
template <class F>
void over_lines(int64_t outer, int64_t n, int64_t inner, F f) {
  const int64_t groups = chunk_count(inner, kLines), total = outer * groups;
  if (total * n == 0) return;
  const int64_t grain = std::max<int64_t>(1, kGrain / (n * std::min(inner, kLines)));
  parallel_for(chunk_count(total, grain), [&](int64_t chunk) {
    for (int64_t g = chunk * grain; g < std::min(total, (chunk + 1) * grain); ++g) {
      const int64_t first = g % groups * kLines;
      f(g / groups, first, std::min(kLines, inner - first));
    }
  });
}

double log_add(double a, double b) {
  if (a != a || b != b) return a + b;
  const double high = std::max(a, b), low = std::min(a, b);
  return std::isinf(high) ? high : high + std::log1p(std::exp(low - high));
}

// Lines of adjacent elements: four at a time, so that four chains hide each other's latency.
template <class T, class State, class Step>
void run_rows(const ScanJob& job, State start, Step step) {
  constexpr int kChains = 4;
  const int64_t n = job.n, groups = chunk_count(job.outer, kChains);
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, kChains * n));
  parallel_for(chunk_count(groups, grain), [&](int64_t chunk) {
    for (int64_t g = chunk * grain; g < std::min(groups, (chunk + 1) * grain); ++g) {
      const int64_t first = g * kChains * n, rows = std::min<int64_t>(kChains, job.outer - g * kChains);
      const T* x = static_cast<const T*>(job.x);
      T* out = static_cast<T*>(job.out);
      State state[kChains] = {start, start, start, start};
      for (int64_t i = 0; i < n; ++i) {
        const int64_t k = job.reverse ? n - 1 - i : i, at = first + k;
        if (rows == kChains)
          for (int r = 0; r < kChains; ++r) out[at + r * n] = step(state[r], x[at + r * n], k, at + r * n);
        else
          for (int r = 0; r < rows; ++r) out[at + r * n] = step(state[r], x[at + r * n], k, at + r * n);
      }
    }
  });
}

// state: what a line carries; step(state, value, position) advances it and gives the result.
template <class T, class State, class Step>
void run(const ScanJob& job, State start, Step step) {
  if (job.inner == 1) return run_rows<T>(job, start, step);
  over_lines(job.outer, job.n, job.inner, [&](int64_t o, int64_t first, int64_t lines) {
    State state[kLines];
    std::fill(state, state + lines, start);
    for (int64_t i = 0; i < job.n; ++i) {
      const int64_t k = job.reverse ? job.n - 1 - i : i, at = (o * job.n + k) * job.inner + first;
      const T* x = static_cast<const T*>(job.x) + at;
      T* out = static_cast<T*>(job.out) + at;
      for (int64_t l = 0; l < lines; ++l) out[l] = step(state[l], x[l], k, at + l);
    }
  });
}

template <class T, class Wins>
void run_extreme(const ScanJob& job, Wins wins) {
  struct State {
    T best;
    int64_t at;
  };
  run<T>(job, State{T(0), -1}, [&](State& s, T x, int64_t k, int64_t out) {
    // Ties move on to the later position, and so does NaN, as in PyTorch.
    if (s.at < 0 || x != x || wins(x, s.best)) s = {x, k};
    job.positions[out] = s.at;
    return s.best;
  });
}

template <class T>
void run_kind(const ScanJob& job) {
  using Wide = std::conditional_t<std::is_same_v<T, float>, double, T>;
  switch (job.kind) {
    case Scan::Sum:
      return run<T>(job, Wide(0), [](Wide& s, T x, int64_t, int64_t) { return T(s += Wide(x)); });
    case Scan::Product:
      return run<T>(job, Wide(1), [](Wide& s, T x, int64_t, int64_t) { return T(s *= Wide(x)); });
    case Scan::Max:
      return run_extreme<T>(job, [](T x, T best) { return x >= best; });
    case Scan::Min:
      return run_extreme<T>(job, [](T x, T best) { return x <= best; });
    case Scan::LogSumExp:
      return run<T>(job, -HUGE_VAL, [](double& s, T x, int64_t, int64_t) { return T(s = log_add(s, double(x))); });
  }
}

}  // namespace

void cpu::scan(const ScanJob& job) {
  dispatch_all(job.dtype, [&]<class T>() {
    // f16 and bf16 are scanned in float, bool as uint8.
    if constexpr (std::is_same_v<T, bool>)
      run_kind<uint8_t>(job);
    else if constexpr (!std::is_same_v<T, f16> && !std::is_same_v<T, bf16>)
      run_kind<T>(job);
  });
}

void cpu::linear_scan(const RecurrenceJob& job) {
  dispatch_float(job.dtype, "linear_scan", [&]<class T>() {
    over_lines(job.outer, job.n, job.inner, [&](int64_t o, int64_t first, int64_t lines) {
      double state[kLines] = {};
      for (int64_t i = 0; i < job.n; ++i) {
        const int64_t k = job.reverse ? job.n - 1 - i : i, at = (o * job.n + k) * job.inner + first;
        const int64_t from = at + (job.reverse ? job.offset : -job.offset) * job.inner;
        const T* a = static_cast<const T*>(job.a) + from;
        const T* b = static_cast<const T*>(job.b) + at;
        T* h = static_cast<T*>(job.h) + at;
        for (int64_t l = 0; l < lines; ++l) {
          // The first step has nothing before it, and with offset 1 no factor either.
          state[l] = i == 0 ? double(b[l]) : double(a[l]) * state[l] + double(b[l]);
          h[l] = T(state[l]);
        }
      }
    });
  });
}

}  // namespace lamina
