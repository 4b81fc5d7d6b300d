// Every operator of the table as a C++ function, plus the few tape-free helpers that operators are written with.
// The declarations are derived from ops.def; definitions are by family: elementwise.cpp, reduce.cpp, shape.cpp ...
#pragma once
#include <array>
#include <optional>
#include <string>
#include <variant>

#include "core/rng.h"
#include "core/scalar.h"
#include "core/tensor.h"

namespace lamina {

// A tensor argument that may also be a Python number (`where(c, x, 0)`), and sizes given as `f(2, 3)` or `f((2, 3))`.
struct Operand : Tensor {
  Operand(const Tensor& x) : Tensor(x) {}
};
// Several results: a named tuple in Python.
using TensorPair = std::array<Tensor, 2>;
using TensorTriple = std::array<Tensor, 3>;
// A tensor or a tuple of them, as the arguments say.
using TensorOrList = std::variant<Tensor, TensorList>;
struct Sizes : Shape {
  Sizes(const Shape& shape) : Shape(shape) {}
};
// Tensors given as `f(a, b)` or `f([a, b])`.
struct Tensors : TensorList {
  Tensors(TensorList tensors) : TensorList(std::move(tensors)) {}
};

// `([0, 1], [2, 0])`: dimensions of two tensors, pair by pair.
struct ShapePair {
  Shape first, second;
};

// (double alpha, double beta) as parameters, and as names: LM_NAMES turns `double alpha` into `alpha`.
#define LM_PARAMS(...) __VA_ARGS__
#define LM_DROP_double
#define LM_NAME(parameter) LM_DROP_##parameter
#define LM_NAMES_1(a) LM_NAME(a)
#define LM_NAMES_2(a, b) LM_NAME(a), LM_NAME(b)
#define LM_NAMES_3(a, b, c) LM_NAME(a), LM_NAME(b), LM_NAME(c)
#define LM_NAMES_OF(a, b, c, n, ...) LM_NAMES_##n
#define LM_NAMES(...) LM_NAMES_OF(__VA_ARGS__, 3, 2, 1)(__VA_ARGS__)
#define UNARY(name, ...) Tensor name(const Tensor& x);
#define UNARY_ATTRS(name, Functor, PARAMS, ...) Tensor name(const Tensor& x, LM_PARAMS PARAMS);
#define BINARY(name, ...) Tensor name(const Tensor& a, const Tensor& b);
#define OP(R, name, PARAMS, ...) R name PARAMS;
#include "ops.def"

// --- helpers outside the tape: they compute, record nothing, and are not bound ---
Tensor ones_tensor(const Shape& sizes, DType dtype, Device device = {});
Tensor full_tensor(const Shape& sizes, const Scalar& value, DType dtype, Device device = {});
// dst[...] = src, broadcast and converted. Does not bump the version. `non_blocking`: between devices and pinned
// memory, returns before it has happened.
void copy_into(const Tensor& dst, const Tensor& src, bool non_blocking = false);
// A copy in the memory order of x where x is dense, row-major otherwise.
Tensor copy_dense(const Tensor& x);
Tensor add_into(Tensor a, const Tensor& b);  // a += b, returns a
bool has_nan(const Tensor& x);
bool is_contiguous(const Tensor& x, const std::string& memory_format);

// --- differentiable helpers ---
Tensor cast(const Tensor& x, DType dtype);  // x itself when nothing changes
Tensor to_device(const Tensor& x, Device device, bool non_blocking = false);
Tensor pin_memory(const Tensor& x);  // on the CPU, where copies to a CUDA device need no waiting
bool is_pinned(const Tensor& x);
// Every step-th index of [start, end), both clipped to the size and counted from its end when negative, as in Python.
Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t end, int64_t step = 1);
Tensor sum_to(const Tensor& x, const Shape& sizes);  // undoes broadcasting: sums what was repeated

// --- changing a tensor in place (inplace.cpp, Note [In place]) ---
// `self` takes the elements and the place in the tape of `result`, which was computed from before_inplace(self).
void assign_inplace(Tensor& self, const Tensor& result, const char* op, bool non_blocking = false);
// Checks that `self` may be written to and returns a handle to its present place in the tape.
Tensor before_inplace(const Tensor& self, const char* op);
template <class F>
void inplace(Tensor& self, F&& compute, const char* op, bool non_blocking = false) {
  Tensor x = before_inplace(self, op);
  assign_inplace(self, compute(x), op, non_blocking);
}

// --- operators on Tensor, for formulas ---
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& a) { return neg(a); }
inline Tensor operator<(const Tensor& a, const Tensor& b) { return lt(a, b); }
inline Tensor operator<=(const Tensor& a, const Tensor& b) { return le(a, b); }
inline Tensor operator>(const Tensor& a, const Tensor& b) { return gt(a, b); }
inline Tensor operator>=(const Tensor& a, const Tensor& b) { return ge(a, b); }
inline Tensor operator==(const Tensor& a, const Tensor& b) { return eq(a, b); }
inline Tensor operator!=(const Tensor& a, const Tensor& b) { return ne(a, b); }
inline Tensor operator&(const Tensor& a, const Tensor& b) { return logical_and(a, b); }
inline Tensor operator|(const Tensor& a, const Tensor& b) { return logical_or(a, b); }
inline Tensor operator!(const Tensor& a) { return logical_not(a); }
inline Tensor select(const Tensor& condition, const Tensor& a, const Tensor& b) { return where(condition, a, b); }

}  // namespace lamina
