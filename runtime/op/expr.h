// Expr and Builder: how gradients, function bodies, losses, optimizers and regularizers write graph
// nodes.
//
//   Expr g = dy * y * (1.0 - y);
//
// appends Mul, Sub and Mul nodes in front of the Builder's position. Names in this header are
// ONNX's operators; it is the one place under runtime/ that knows any.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "runtime/ir/graph.h"

namespace graphrun {

class Builder;
class OpRegistry;

// A value in the making. Cheap to copy. A default Expr is "left out".
class Expr {
 public:
  Expr() = default;
  Expr(Builder* builder, Value* value) : builder_(builder), value_(value) {}
  Value* value() const { return value_; }
  Builder* builder() const { return builder_; }
  bool is_defined() const { return value_ != nullptr; }
  DType dtype() const { return value_->dtype(); }
  const Shape& shape() const { return value_->shape(); }

 private:
  Builder* builder_ = nullptr;
  Value* value_ = nullptr;
};

class Builder {
 public:
  // Emits into `graph` in front of `before` (null: at the end). Node and value names start with
  // `prefix`.
  Builder(Graph* graph, const OpRegistry* registry, Node* before = nullptr,
          std::string prefix = "");

  Graph* graph() const { return graph_; }
  const OpRegistry& registry() const { return *registry_; }
  // The first error of any emission (an operator unknown or ill-typed); later ones are not noted.
  const absl::Status& status() const { return status_; }
  // Notes an error of whoever emits, where there was none before.
  void Fail(absl::Status error) {
    if (status_.ok()) status_ = std::move(error);
  }

  Expr Use(Value* value) { return Expr(this, value); }
  // Emits one node of the newest declared version of that operator; its types are inferred at once.
  Expr Op(absl::string_view op_type, std::vector<Expr> inputs, AttrMap attrs = {},
          absl::string_view domain = "");
  std::vector<Expr> Ops(absl::string_view op_type, std::vector<Expr> inputs, int num_outputs,
                        AttrMap attrs = {}, absl::string_view domain = "");
  Expr Constant(Tensor tensor);
  // A scalar constant of that element type; equal ones are shared.
  Expr Scalar(DType dtype, double value);
  Expr Ints(std::vector<int64_t> values);  // 1-D int64
  // Makes the next node's outputs carry this name (made unique).
  Builder& Name(std::string name) {
    next_name_ = std::move(name);
    return *this;
  }

 private:
  Graph* graph_;
  const OpRegistry* registry_;
  Node* before_;
  std::string prefix_, next_name_;
  absl::Status status_;
  std::map<std::pair<int, double>, Value*> scalars_;
};

// Arithmetic with NumPy's broadcasting; a double takes the other operand's element type.
Expr operator+(Expr a, Expr b);
Expr operator-(Expr a, Expr b);
Expr operator*(Expr a, Expr b);
Expr operator/(Expr a, Expr b);
Expr operator+(Expr a, double b);
Expr operator-(Expr a, double b);
Expr operator*(Expr a, double b);
Expr operator/(Expr a, double b);
Expr operator+(double a, Expr b);
Expr operator-(double a, Expr b);
Expr operator*(double a, Expr b);
Expr operator/(double a, Expr b);
Expr operator-(Expr a);
// Comparisons give bool.
Expr operator<(Expr a, Expr b);
Expr operator<=(Expr a, Expr b);
Expr operator>(Expr a, Expr b);
Expr operator>=(Expr a, Expr b);
Expr operator<(Expr a, double b);
Expr operator<=(Expr a, double b);
Expr operator>(Expr a, double b);
Expr operator>=(Expr a, double b);
Expr Equal(Expr a, Expr b);
Expr Equal(Expr a, double b);
Expr And(Expr a, Expr b);
Expr Or(Expr a, Expr b);
Expr Not(Expr a);
Expr Where(Expr condition, Expr a, Expr b);

Expr Exp(Expr a);
Expr Log(Expr a);
Expr Sqrt(Expr a);
Expr Square(Expr a);  // a * a
Expr Abs(Expr a);
Expr Sign(Expr a);
Expr Sin(Expr a);
Expr Cos(Expr a);
Expr Tanh(Expr a);
Expr Sigmoid(Expr a);
Expr Erf(Expr a);
Expr Floor(Expr a);
Expr Relu(Expr a);
Expr Reciprocal(Expr a);
Expr Pow(Expr a, Expr b);
Expr Pow(Expr a, double b);
Expr Max(Expr a, Expr b);
Expr Min(Expr a, Expr b);
Expr Max(Expr a, double b);
Expr Min(Expr a, double b);
Expr Cast(Expr a, DType to);
Expr CastLike(Expr a, Expr like);  // Cast to like's element type
Expr Identity(Expr a);

Expr MatMul(Expr a, Expr b);
Expr Transpose(Expr a, std::vector<int64_t> perm);
Expr Reshape(Expr a, Expr shape);
Expr Reshape(Expr a, std::vector<int64_t> shape);
Expr ShapeOf(Expr a);          // 1-D int64
Expr DimOf(Expr a, int axis);  // 1-D int64 with one element: the size of that axis
Expr Expand(Expr a, Expr shape);
Expr Squeeze(Expr a, std::vector<int64_t> axes);
Expr Unsqueeze(Expr a, std::vector<int64_t> axes);
Expr ConcatAll(std::vector<Expr> parts, int64_t axis);
Expr Slice(Expr a, std::vector<int64_t> starts, std::vector<int64_t> ends,
           std::vector<int64_t> axes, std::vector<int64_t> steps = {});
Expr Gather(Expr data, Expr indices, int64_t axis);
Expr ReduceSum(Expr a, std::vector<int64_t> axes, bool keepdims);  // no axes: over all
Expr ReduceMean(Expr a, std::vector<int64_t> axes, bool keepdims);
Expr ReduceMax(Expr a, std::vector<int64_t> axes, bool keepdims);
Expr ZerosLike(Expr a);  // a tensor of zeros of a's type and shape
Expr FullLike(Expr a, double value);
// a summed over the axes along which `like` was broadcast to a's shape; the inverse of
// broadcasting.
Expr SumTo(Expr a, Expr like);

}  // namespace graphrun
