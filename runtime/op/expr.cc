#include "runtime/op/expr.h"

#include "runtime/base/numbers.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

Builder::Builder(Graph* graph, const OpRegistry* registry, Node* before, std::string prefix)
    : graph_(graph), registry_(registry), before_(before), prefix_(std::move(prefix)) {}

std::vector<Expr> Builder::Ops(absl::string_view op_type, std::vector<Expr> inputs, int num_outputs,
                               AttrMap attrs, absl::string_view domain) {
  Graph::NodeSpec spec;
  spec.op_type = std::string(op_type);
  spec.domain = std::string(domain);
  spec.attrs = std::move(attrs);
  for (const Expr& e : inputs) spec.inputs.push_back(e.value());
  while (!spec.inputs.empty() && spec.inputs.back() == nullptr) spec.inputs.pop_back();
  const std::string stem =
      absl::StrCat(prefix_, next_name_.empty() ? std::string(op_type) : next_name_);
  next_name_.clear();
  spec.name = stem;
  spec.outputs.assign(static_cast<size_t>(num_outputs), stem);
  const OpDef* def = registry_->Find(domain, op_type, 0);
  spec.opset = def == nullptr ? 0 : def->since();
  Node* node = graph_->AddNode(std::move(spec), before_);
  const absl::Status inferred = InferNode(*node, *registry_, nullptr);
  Fail(inferred);
  std::vector<Expr> outputs;
  for (Value* v : node->outputs()) outputs.emplace_back(this, v);
  return outputs;
}

Expr Builder::Op(absl::string_view op_type, std::vector<Expr> inputs, AttrMap attrs,
                 absl::string_view domain) {
  return Ops(op_type, std::move(inputs), 1, std::move(attrs), domain)[0];
}

Expr Builder::Constant(Tensor tensor) {
  return Expr(this, graph_->AddInitializer(absl::StrCat(prefix_, "const"), std::move(tensor)));
}

Expr Builder::Scalar(DType dtype, double value) {
  Value*& shared = scalars_[{static_cast<int>(dtype), value}];
  if (shared == nullptr) {
    Tensor t = Tensor::Zeros(dtype, {});
    const bool known =
        DispatchDType(Concat<Concat<NumericTypes, SmallFloatTypes>, SmallIntTypes>(), dtype,
                      [&]<typename T>() { t.mutable_data<T>()[0] = T(value); });
    if (!known && dtype == DType::kBool) t.mutable_data<bool>()[0] = value != 0;
    shared = Constant(std::move(t)).value();
  }
  return Expr(this, shared);
}

Expr Builder::Ints(std::vector<int64_t> values) { return Constant(Tensor::Int64s(values)); }

namespace {

Expr Unary(const char* op, Expr a) { return a.builder()->Op(op, {a}); }
Expr Binary(const char* op, Expr a, Expr b) { return a.builder()->Op(op, {a, b}); }
Expr ScalarLike(Expr a, double v) { return a.builder()->Scalar(a.dtype(), v); }

Expr Reduce(const char* op, Expr a, std::vector<int64_t> axes, bool keepdims) {
  Builder& b = *a.builder();
  Expr axes_input = axes.empty() ? Expr() : b.Ints(std::move(axes));
  return b.Op(op, {a, axes_input}, {{"keepdims", keepdims}});
}

}  // namespace

Expr operator+(Expr a, Expr b) { return Binary("Add", a, b); }
Expr operator-(Expr a, Expr b) { return Binary("Sub", a, b); }
Expr operator*(Expr a, Expr b) { return Binary("Mul", a, b); }
Expr operator/(Expr a, Expr b) { return Binary("Div", a, b); }
Expr operator+(Expr a, double b) { return a + ScalarLike(a, b); }
Expr operator-(Expr a, double b) { return a - ScalarLike(a, b); }
Expr operator*(Expr a, double b) { return a * ScalarLike(a, b); }
Expr operator/(Expr a, double b) { return a / ScalarLike(a, b); }
Expr operator+(double a, Expr b) { return ScalarLike(b, a) + b; }
Expr operator-(double a, Expr b) { return ScalarLike(b, a) - b; }
Expr operator*(double a, Expr b) { return ScalarLike(b, a) * b; }
Expr operator/(double a, Expr b) { return ScalarLike(b, a) / b; }
Expr operator-(Expr a) { return Unary("Neg", a); }
Expr operator<(Expr a, Expr b) { return Binary("Less", a, b); }
Expr operator<=(Expr a, Expr b) { return Binary("LessOrEqual", a, b); }
Expr operator>(Expr a, Expr b) { return Binary("Greater", a, b); }
Expr operator>=(Expr a, Expr b) { return Binary("GreaterOrEqual", a, b); }
Expr operator<(Expr a, double b) { return a < ScalarLike(a, b); }
Expr operator<=(Expr a, double b) { return a <= ScalarLike(a, b); }
Expr operator>(Expr a, double b) { return a > ScalarLike(a, b); }
Expr operator>=(Expr a, double b) { return a >= ScalarLike(a, b); }
Expr Equal(Expr a, Expr b) { return Binary("Equal", a, b); }
Expr Equal(Expr a, double b) { return Equal(a, ScalarLike(a, b)); }
Expr And(Expr a, Expr b) { return Binary("And", a, b); }
Expr Or(Expr a, Expr b) { return Binary("Or", a, b); }
Expr Not(Expr a) { return Unary("Not", a); }
Expr Where(Expr condition, Expr a, Expr b) {
  return condition.builder()->Op("Where", {condition, a, b});
}

Expr Exp(Expr a) { return Unary("Exp", a); }
Expr Log(Expr a) { return Unary("Log", a); }
Expr Sqrt(Expr a) { return Unary("Sqrt", a); }
Expr Square(Expr a) { return a * a; }
Expr Abs(Expr a) { return Unary("Abs", a); }
Expr Sign(Expr a) { return Unary("Sign", a); }
Expr Sin(Expr a) { return Unary("Sin", a); }
Expr Cos(Expr a) { return Unary("Cos", a); }
Expr Tanh(Expr a) { return Unary("Tanh", a); }
Expr Sigmoid(Expr a) { return Unary("Sigmoid", a); }
Expr Erf(Expr a) { return Unary("Erf", a); }
Expr Floor(Expr a) { return Unary("Floor", a); }
Expr Relu(Expr a) { return Unary("Relu", a); }
Expr Reciprocal(Expr a) { return Unary("Reciprocal", a); }
Expr Pow(Expr a, Expr b) { return Binary("Pow", a, b); }
Expr Pow(Expr a, double b) { return Pow(a, ScalarLike(a, b)); }
Expr Max(Expr a, Expr b) { return Binary("Max", a, b); }
Expr Min(Expr a, Expr b) { return Binary("Min", a, b); }
Expr Max(Expr a, double b) { return Max(a, ScalarLike(a, b)); }
Expr Min(Expr a, double b) { return Min(a, ScalarLike(a, b)); }
Expr Cast(Expr a, DType to) {
  return a.dtype() == to ? a : a.builder()->Op("Cast", {a}, {{"to", static_cast<int64_t>(to)}});
}
Expr CastLike(Expr a, Expr like) { return Cast(a, like.dtype()); }
Expr Identity(Expr a) { return Unary("Identity", a); }

Expr MatMul(Expr a, Expr b) { return Binary("MatMul", a, b); }
Expr Transpose(Expr a, std::vector<int64_t> perm) {
  return a.builder()->Op("Transpose", {a}, {{"perm", std::move(perm)}});
}
Expr Reshape(Expr a, Expr shape) { return Binary("Reshape", a, shape); }
Expr Reshape(Expr a, std::vector<int64_t> shape) {
  return Reshape(a, a.builder()->Ints(std::move(shape)));
}
Expr ShapeOf(Expr a) { return Unary("Shape", a); }
Expr DimOf(Expr a, int axis) {
  return a.builder()->Op("Shape", {a}, {{"start", axis}, {"end", axis + 1}});
}
Expr Expand(Expr a, Expr shape) { return Binary("Expand", a, shape); }
Expr Squeeze(Expr a, std::vector<int64_t> axes) {
  return Binary("Squeeze", a, a.builder()->Ints(std::move(axes)));
}
Expr Unsqueeze(Expr a, std::vector<int64_t> axes) {
  return Binary("Unsqueeze", a, a.builder()->Ints(std::move(axes)));
}
Expr ConcatAll(std::vector<Expr> parts, int64_t axis) {
  Builder& b = *parts[0].builder();
  return b.Op("Concat", std::move(parts), {{"axis", axis}});
}
Expr Slice(Expr a, std::vector<int64_t> starts, std::vector<int64_t> ends,
           std::vector<int64_t> axes, std::vector<int64_t> steps) {
  Builder& b = *a.builder();
  Expr step_input = steps.empty() ? Expr() : b.Ints(std::move(steps));
  return b.Op("Slice", {a, b.Ints(std::move(starts)), b.Ints(std::move(ends)),
                        b.Ints(std::move(axes)), step_input});
}
Expr Gather(Expr data, Expr indices, int64_t axis) {
  return data.builder()->Op("Gather", {data, indices}, {{"axis", axis}});
}
Expr ReduceSum(Expr a, std::vector<int64_t> axes, bool keepdims) {
  return Reduce("ReduceSum", a, std::move(axes), keepdims);
}
Expr ReduceMean(Expr a, std::vector<int64_t> axes, bool keepdims) {
  return Reduce("ReduceMean", a, std::move(axes), keepdims);
}
Expr ReduceMax(Expr a, std::vector<int64_t> axes, bool keepdims) {
  return Reduce("ReduceMax", a, std::move(axes), keepdims);
}
Expr FullLike(Expr a, double value) {
  Tensor t = Tensor::Zeros(a.dtype(), {1});
  DispatchDType(NumericTypes(), a.dtype(),
                [&]<typename T>() { t.mutable_data<T>()[0] = T(value); });
  Builder& b = *a.builder();
  if (a.shape().is_concrete() && a.shape().rank() == 0) return b.Scalar(a.dtype(), value);
  return b.Op("ConstantOfShape", {ShapeOf(a)}, {{"value", t}});
}
Expr ZerosLike(Expr a) { return FullLike(a, 0); }
Expr SumTo(Expr a, Expr like) {
  if (a.shape().SurelyEquals(like.shape())) return a;
  return a.builder()->Op("SumTo", {a, like}, {}, kGraphrunDomain);
}

}  // namespace graphrun
