// Expressions: gradients, bodies, losses and updates are written as formulas.
//
//   g.dx(0, g.dy() * g.y() * (1.0 - g.y()));
#pragma once

#include "base.hpp"

namespace gr {

// A value in the making. What cannot be, and everything built on it, is not defined; the host
// reports the first error when the function returns. A default Expr is an input that is left out.
class Expr {
 public:
  Expr() = default;
  Expr(gr_builder* builder, gr_expr id) : builder_(builder), id_(id) {}
  // Throws for a default Expr, which belongs to none.
  gr_builder* builder() const {
    if (builder_ == nullptr) throw Error(GR_INTERNAL, "an operand of an expression is left out");
    return builder_;
  }
  gr_expr id() const { return id_; }
  bool is_defined() const { return id_ != 0; }
  bool has_builder() const { return builder_ != nullptr; }
  int32_t dtype() const { return host().expr->dtype(builder(), id_); }
  int rank() const { return host().expr->rank(builder(), id_); }  // -1: unknown
  gr_dim dim(int axis) const { return host().expr->dim(builder(), id_, axis); }

 private:
  gr_builder* builder_ = nullptr;
  gr_expr id_ = 0;
};

inline gr_builder* BuilderOf(Expr a, Expr b) { return (a.has_builder() ? a : b).builder(); }
inline Expr Apply(gr_unary_fn f, Expr a) { return {a.builder(), f(a.builder(), a.id())}; }
inline Expr Apply(gr_binary_fn f, Expr a, Expr b) {
  gr_builder* builder = BuilderOf(a, b);
  return {builder, f(builder, a.id(), b.id())};
}
// A scalar of the other's element type.
inline Expr Like(Expr a, double value) {
  return {a.builder(), host().expr->number(a.builder(), value, a.id())};
}

#define GR_BINARY(name, field)                                                            \
  inline Expr name(Expr a, Expr b) { return Apply(host().expr->field, a, b); }            \
  inline Expr name(Expr a, double b) { return Apply(host().expr->field, a, Like(a, b)); } \
  inline Expr name(double a, Expr b) { return Apply(host().expr->field, Like(b, a), b); }
GR_BINARY(operator+, add)
GR_BINARY(operator-, sub)
GR_BINARY(operator*, mul)
GR_BINARY(operator/, div)
GR_BINARY(operator<, less)
GR_BINARY(operator<=, less_equal)
GR_BINARY(operator>, greater)
GR_BINARY(operator>=, greater_equal)
GR_BINARY(Pow, pow)
GR_BINARY(Max, max)
GR_BINARY(Min, min)
GR_BINARY(Equal, equal)
#undef GR_BINARY

#define GR_UNARY(name, field) \
  inline Expr name(Expr a) { return Apply(host().expr->field, a); }
GR_UNARY(operator-, neg)
GR_UNARY(Abs, abs)
GR_UNARY(Sign, sign)
GR_UNARY(Exp, exp)
GR_UNARY(Log, log)
GR_UNARY(Sqrt, sqrt)
GR_UNARY(Square, square)
GR_UNARY(Reciprocal, reciprocal)
GR_UNARY(Sin, sin)
GR_UNARY(Cos, cos)
GR_UNARY(Tanh, tanh)
GR_UNARY(Sigmoid, sigmoid)
GR_UNARY(Erf, erf)
GR_UNARY(Floor, floor)
GR_UNARY(Relu, relu)
GR_UNARY(Not, logical_not)
GR_UNARY(Identity, identity)
GR_UNARY(ShapeOf, shape_of)  // int64 [rank]
GR_UNARY(ZerosLike, zeros_like)
#undef GR_UNARY

inline Expr And(Expr a, Expr b) { return Apply(host().expr->logical_and, a, b); }
inline Expr Or(Expr a, Expr b) { return Apply(host().expr->logical_or, a, b); }
inline Expr MatMul(Expr a, Expr b) { return Apply(host().expr->matmul, a, b); }
inline Expr CastLike(Expr a, Expr like) { return Apply(host().expr->cast_like, a, like); }
inline Expr Expand(Expr a, Expr shape) { return Apply(host().expr->expand, a, shape); }
inline Expr ReshapeTo(Expr a, Expr shape) { return Apply(host().expr->reshape_to, a, shape); }
// a summed over the axes along which `like` was broadcast to a's shape.
inline Expr SumTo(Expr a, Expr like) { return Apply(host().expr->sum_to, a, like); }
inline Expr Where(Expr condition, Expr a, Expr b) {
  gr_builder* builder = condition.builder();
  return {builder, host().expr->where(builder, condition.id(), a.id(), b.id())};
}
inline Expr Where(Expr condition, Expr a, double b) { return Where(condition, a, Like(a, b)); }
inline Expr Where(Expr condition, double a, Expr b) { return Where(condition, Like(b, a), b); }
inline Expr Cast(Expr a, int32_t dtype) {
  return {a.builder(), host().expr->cast(a.builder(), a.id(), dtype)};
}
inline Expr FullLike(Expr a, double value) {
  return {a.builder(), host().expr->full_like(a.builder(), a.id(), value)};
}
inline Expr DimOf(Expr a, int axis) {  // int64 [1]
  return {a.builder(), host().expr->dim_of(a.builder(), a.id(), axis)};
}

#define GR_WITH_INTS(name, field)                                                      \
  inline Expr name(Expr a, const Ints& v) {                                            \
    return {a.builder(), host().expr->field(a.builder(), a.id(), v.data(), v.size())}; \
  }
GR_WITH_INTS(Transpose, transpose)
GR_WITH_INTS(Reshape, reshape)
GR_WITH_INTS(Squeeze, squeeze)
GR_WITH_INTS(Unsqueeze, unsqueeze)
#undef GR_WITH_INTS

// No axes: over all.
#define GR_REDUCTION(name, field)                                                         \
  inline Expr name(Expr a, const Ints& axes = {}, bool keepdims = false) {                \
    return {a.builder(),                                                                  \
            host().expr->field(a.builder(), a.id(), axes.data(), axes.size(), keepdims)}; \
  }
GR_REDUCTION(ReduceSum, reduce_sum)
GR_REDUCTION(ReduceMean, reduce_mean)
GR_REDUCTION(ReduceMax, reduce_max)
#undef GR_REDUCTION

inline Expr Slice(Expr a, int64_t axis, int64_t begin, int64_t end) {
  return {a.builder(), host().expr->slice(a.builder(), a.id(), axis, begin, end)};
}
inline Expr Gather(Expr data, Expr indices, int64_t axis) {
  return {data.builder(), host().expr->gather(data.builder(), data.id(), indices.id(), axis)};
}
// That of the first of them that has one.
inline gr_builder* BuilderOf(const std::vector<Expr>& values) {
  for (const Expr& e : values) {
    if (e.has_builder()) return e.builder();
  }
  return Expr().builder();
}
inline Expr Concat(const std::vector<Expr>& parts, int64_t axis) {
  std::vector<gr_expr> ids;
  for (const Expr& e : parts) ids.push_back(e.id());
  gr_builder* builder = BuilderOf(parts);
  return {builder, host().expr->concat(builder, ids.data(), ids.size(), axis)};
}

// Any operator, of any domain ("": ai.onnx), with one output or several. An input that is left out
// is Expr(); one at least is there.
inline std::vector<Expr> Ops(const char* op_type, const std::vector<Expr>& inputs, size_t outputs,
                             const std::vector<Attr>& attrs = {}, const char* domain = "") {
  std::vector<gr_expr> in, out(outputs);
  std::vector<gr_attr> values;
  for (const Expr& e : inputs) in.push_back(e.id());
  for (const Attr& a : attrs) values.push_back(a.get());
  gr_builder* builder = BuilderOf(inputs);
  Check(host().expr->ops(builder, domain, op_type, in.data(), in.size(), values.data(),
                         values.size(), out.data(), out.size()));
  std::vector<Expr> made;
  for (const gr_expr e : out) made.push_back({builder, e});
  return made;
}
inline Expr Op(const char* op_type, const std::vector<Expr>& inputs,
               const std::vector<Attr>& attrs = {}, const char* domain = "") {
  return Ops(op_type, inputs, 1, attrs, domain)[0];
}

// A scalar, an int64 list [count], a tensor (copied), where there is no Expr yet to be like.
inline Expr Scalar(gr_builder* builder, int32_t dtype, double value) {
  return {builder, host().expr->scalar(builder, dtype, value)};
}
inline Expr List(gr_builder* builder, const Ints& values) {
  return {builder, host().expr->ints(builder, values.data(), values.size())};
}
inline Expr Constant(gr_builder* builder, const gr_tensor& value) {
  return {builder, host().expr->tensor(builder, &value)};
}

}  // namespace gr
