// Broadcasting, strides and dimension checks. See shape.h.
#include "core/shape.h"

namespace lamina {

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '(';
  for (int i = 0; i < shape.size(); ++i) out << (i ? ", " : "") << shape[i];
  return out << (shape.size() == 1 ? ",)" : ")");
}

Shape row_major(const Shape& sizes) {
  Shape strides = sizes;
  int64_t step = 1;
  for (int i = sizes.size() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= sizes[i] > 1 ? sizes[i] : 1;
  }
  return strides;
}

bool is_row_major(const Shape& sizes, const Shape& strides) {
  int64_t step = 1;
  for (int i = sizes.size() - 1; i >= 0; --i) {
    if (sizes[i] == 0) return true;
    if (sizes[i] == 1) continue;  // a stride over one element is never used
    if (strides[i] != step) return false;
    step *= sizes[i];
  }
  return true;
}

Shape channels_last(const Shape& sizes) {
  Shape inner = sizes, strides = sizes;
  inner.erase(1);
  inner.push_back(sizes[1]);
  inner = row_major(inner);
  strides[0] = inner[0];
  strides[1] = 1;
  for (int d = 2; d < sizes.size(); ++d) strides[d] = inner[d - 1];
  return strides;
}

Shape broadcast(const Shape& a, const Shape& b, const char* op) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape out = longer;
  int lead = longer.size() - shorter.size();
  for (int i = 0; i < shorter.size(); ++i) {
    int64_t x = out[lead + i], y = shorter[i];
    if (x == y || y == 1) continue;
    LM_CHECK(x == 1, ValueError, op, ": shapes ", a, " and ", b, " do not broadcast: dimension ", lead + i - out.size(),
             " is ", a[a.size() - out.size() + lead + i], " and ", b[b.size() - out.size() + lead + i],
             "; need equal sizes or 1");
    out[lead + i] = y;
  }
  return out;
}

Shape broadcast_strides(const Shape& sizes, const Shape& strides, const Shape& to) {
  Shape out(to.size(), 0);
  int lead = to.size() - sizes.size();
  for (int i = 0; i < sizes.size(); ++i) out[lead + i] = sizes[i] == 1 && to[lead + i] != 1 ? 0 : strides[i];
  return out;
}

int wrap_dim(int64_t dim, int n, const char* op) {
  int range = n > 0 ? n : 1;
  LM_CHECK(-range <= dim && dim < range, IndexError, op, ": dim ", dim, " is out of range for a tensor of ", n,
           " dimensions; need ", -range, " <= dim <= ", range - 1);
  return int(dim < 0 ? dim + range : dim);
}

int64_t checked_numel(const Shape& sizes, const char* op) {
  int64_t product = 1;
  bool overflow = false, zero = false;
  for (int64_t size : sizes) {
    LM_CHECK(size >= 0, ValueError, op, ": negative size in ", sizes, "; need sizes >= 0");
    zero |= size == 0;
    overflow |= __builtin_mul_overflow(product, size, &product);
  }
  LM_CHECK(zero || !overflow, ValueError, op, ": the number of elements of ", sizes, " does not fit in 64 bits");
  return zero ? 0 : product;
}

}  // namespace lamina
