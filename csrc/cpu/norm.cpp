// The few numbers per channel between the passes of batch, group and instance norm. Next: kernels/norm.cpp.
#include "kernel/norm.h"

#include <cmath>
#include <vector>

namespace lamina::cpu {
namespace {

template <class F>
void by_item(int64_t item, F&& f) {
  if (item == 4)
    f.template operator()<float>();
  else
    f.template operator()<double>();
}

struct Moments {
  double count = 0, mean = 0, m2 = 0;
  void merge(double n, double other_mean, double other_m2) {  // Chan, Golub, LeVeque, 1979
    const double distance = other_mean - mean, share = n / (count + n);
    mean += distance * share;
    m2 += other_m2 + distance * distance * count * share;
    count += n;
  }
};

template <class T>
T at_or(const void* p, int64_t i, T otherwise) {
  return p ? static_cast<const T*>(p)[i] : otherwise;
}

}  // namespace

void batch_norm_statistics(const Channels& l, const double* mean, const double* m2, double eps, double* total,
                           void* mean_out, void* rstd_out) {
  const int64_t c = l.channels;
  std::vector<Moments> all(static_cast<size_t>(c));
  for (int64_t k = 0; k < l.batches; ++k)
    for (int64_t i = 0; i < c; ++i) all[size_t(i)].merge(double(l.size(k)), mean[k * c + i], m2[k * c + i]);
  std::vector<double> var(all.size());
  for (int64_t i = 0; i < c; ++i) {
    const Moments& m = all[size_t(i)];
    total[i] = m.mean;
    total[c + i] = m.m2 / (m.count - 1);
    var[size_t(i)] = m.m2 / m.count;
  }
  batch_norm_constants(l.item, c, total, var.data(), eps, mean_out, rstd_out);
}

void batch_norm_constants(int64_t item, int64_t channels, const double* mean, const double* var, double eps,
                          void* mean_out, void* rstd_out) {
  by_item(item, [&]<class T>() {
    for (int64_t i = 0; i < channels; ++i) {
      static_cast<T*>(mean_out)[i] = T(mean[i]);
      static_cast<T*>(rstd_out)[i] = T(1 / std::sqrt(var[i] + eps));
    }
  });
}

void batch_norm_grad(const Channels& l, const double* sum_g, const double* sum_gx, const void* rstd, const void* weight,
                     bool training, void* coefficients, void* grad_weight, void* grad_bias) {
  const int64_t c = l.channels;
  std::vector<double> total_g(size_t(c), 0), total_gx(size_t(c), 0);
  for (int64_t k = 0; sum_g && k < l.batches * c; k += c)
    for (int64_t i = 0; i < c; ++i) total_g[size_t(i)] += sum_g[k + i], total_gx[size_t(i)] += sum_gx[k + i];
  by_item(l.item, [&]<class T>() {
    T *a = static_cast<T*>(coefficients), *b = a + c, *d = b + c;
    for (int64_t i = 0; i < c; ++i) {
      const double r = double(static_cast<const T*>(rstd)[i]), rw = r * double(at_or<T>(weight, i, T(1)));
      // In evaluation the statistics are constants: an infinite n switches their terms off.
      const double n = training ? double(l.rows) : INFINITY, g = total_g[size_t(i)], gx = total_gx[size_t(i)];
      a[i] = T(rw), b[i] = T(-rw * r * r * gx / n), d[i] = T(-rw * g / n);
      static_cast<T*>(grad_weight)[i] = T(gx * r), static_cast<T*>(grad_bias)[i] = T(g);
    }
  });
}

void group_norm_statistics(const Channels& l, int64_t groups, const double* mean, const double* m2, double eps,
                           const void* weight, const void* bias, void* rstd, void* mean_out, void* coefficients) {
  const int64_t c = l.channels, each = c / groups;
  by_item(l.item, [&]<class T>() {
    T *m = static_cast<T*>(mean_out), *scale = static_cast<T*>(coefficients), *shift = scale + l.batches * c;
    for (int64_t group = 0; group < l.batches * groups; ++group) {
      // Channels of a group lie next to each other: pieces first ... first + each - 1, all of the same size.
      Moments total;
      const int64_t first = group * each;
      for (int64_t i = first; i < first + each; ++i) total.merge(double(l.inner), mean[i], m2[i]);
      const double r = 1 / std::sqrt(total.m2 / total.count + eps);
      static_cast<T*>(rstd)[group] = T(r);
      for (int64_t i = first; i < first + each; ++i) {
        m[i] = T(total.mean);
        scale[i] = T(r * double(at_or<T>(weight, i % c, T(1))));
        shift[i] = at_or<T>(bias, i % c, T(0));
      }
    }
  });
}

void group_norm_grad(const Channels& l, int64_t groups, const double* sum_g, const double* sum_gx, const void* rstd,
                     const void* weight, void* coefficients, void* grad_weight, void* grad_bias) {
  const int64_t c = l.channels, each = c / groups, all = l.batches * c;
  std::vector<double> total_w(size_t(c), 0), total_b(size_t(c), 0);
  by_item(l.item, [&]<class T>() {
    T *a = static_cast<T*>(coefficients), *b = a + all, *d = b + all;
    for (int64_t group = 0; group < l.batches * groups; ++group) {
      // With u = g w: grad_x = r (u - [sum(u) + (x - m) r^2 sum(u (x - m))] / n).
      const double r = double(static_cast<const T*>(rstd)[group]), n = double(each * l.inner);
      double sum_u = 0, sum_ux = 0;
      for (int64_t i = group * each; i < (group + 1) * each; ++i) {
        const double w = double(at_or<T>(weight, i % c, T(1)));
        sum_u += w * sum_g[i];
        sum_ux += w * sum_gx[i];
        total_w[size_t(i % c)] += r * sum_gx[i];
        total_b[size_t(i % c)] += sum_g[i];
        a[i] = T(r * w);
      }
      for (int64_t i = group * each; i < (group + 1) * each; ++i)
        b[i] = T(-r * r * r * sum_ux / n), d[i] = T(-r * sum_u / n);
    }
    for (int64_t i = 0; i < c; ++i) {
      static_cast<T*>(grad_weight)[i] = T(total_w[size_t(i)]);
      static_cast<T*>(grad_bias)[i] = T(total_b[size_t(i)]);
    }
  });
}

void instance_norm_statistics(const Channels& l, const double* mean, const double* m2, double* total) {
  const int64_t c = l.channels;
  const double n = double(l.batches), count = double(l.inner - 1);
  for (int64_t i = 0; i < 2 * c; ++i) total[i] = 0;
  for (int64_t i = 0; i < l.batches * c; ++i) {
    total[i % c] += mean[i] / n;
    total[c + i % c] += m2[i] / count / n;
  }
}

void update_running(int64_t item, int64_t n, double momentum, const double* values, void* running) {
  // In double: momentum is small, and float would lose digits of the old value every step.
  by_item(item, [&]<class T>() {
    T* p = static_cast<T*>(running);
    for (int64_t i = 0; i < n; ++i) p[i] = T(momentum * values[i] + (1 - momentum) * double(p[i]));
  });
}

}  // namespace lamina::cpu
