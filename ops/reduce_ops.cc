#include "ops/reduce_ops.h"

namespace graphrun {

absl::StatusOr<std::vector<bool>> FoldedAxes(bool noop, const Tensor* axes, int rank) {
  if (axes == nullptr || axes->num_elements() == 0)
    return std::vector<bool>(static_cast<size_t>(rank), !noop);
  std::vector<bool> fold(static_cast<size_t>(rank), false);
  for (const int64_t axis : axes->AsInt64s()) {
    if (rank == 0 && (axis == 0 || axis == -1)) continue;  // PyTorch exports such sums of scalars
    GR_ASSIGN_OR_RETURN(const int normal, NormalizeAxis(axis, rank));
    fold[static_cast<size_t>(normal)] = true;
  }
  return fold;
}

namespace {

absl::Status SetReducedType(InferContext& c, const Tensor* axes) {
  const Shape& x = c.input_shape(0);
  const bool keep = c.Int("keepdims") != 0;
  auto fold = FoldedAxes(c.Int("noop_with_empty_axes", 0) != 0, axes, x.rank());
  if (!fold.ok()) return Annotate(fold.status(), c.node().Describe());
  Shape y = Shape::Scalar();
  for (int i = 0; i < x.rank(); ++i) {
    const bool folded = (*fold)[static_cast<size_t>(i)];
    if (!folded || keep) y.Append(folded ? Dim(1) : x[i]);
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

}  // namespace

absl::Status InferReduce(InferContext& c) {
  const Shape& x = c.input_shape(0);
  const bool keep = c.Int("keepdims") != 0;
  c.set_output(0, c.input_dtype(0), Shape());
  const Tensor* axes = c.constant(1);
  if (c.has_input(1) && axes == nullptr) {
    if (x.has_rank() && keep) c.set_output(0, c.input_dtype(0), Shape::UnknownOfRank(x.rank()));
    return absl::OkStatus();
  }
  const bool all =
      (axes == nullptr || axes->num_elements() == 0) && c.Int("noop_with_empty_axes", 0) == 0;
  if (!x.has_rank()) {
    if (all && !keep) c.set_output(0, c.input_dtype(0), Shape::Scalar());
    return absl::OkStatus();
  }
  return SetReducedType(c, axes);
}

Expr WithFoldedAxes(GradContext& g, Expr y) {
  const Shape& x = g.x(0).shape();
  if (g.Int("keepdims") != 0 || (x.has_rank() && x.rank() == 0)) return y;
  const Value* axes = g.has_input(1) ? g.node().input(1) : nullptr;
  const bool none =
      axes == nullptr || (axes->is_constant() && axes->initializer().num_elements() == 0);
  // Without axes the result is a scalar, or nothing was folded: it broadcasts as it is.
  return none ? y : g.builder().Op("Unsqueeze", {y, g.x(1)});
}

Expr FoldedCount(GradContext& g) {
  Expr x = g.x(0), y = g.y();
  if (x.shape().is_concrete() && y.shape().is_concrete()) {
    const int64_t to = std::max<int64_t>(Product(y.shape().ToDims()), 1);
    return g.builder().Scalar(x.dtype(), static_cast<double>(Product(x.shape().ToDims()) / to));
  }
  Builder& b = g.builder();
  return Cast(b.Op("Size", {x}) / Max(b.Op("Size", {y}), 1.0), x.dtype());
}

OpDef ReduceOp(const std::string& name, int since, std::vector<int> versions, DTypeSet dtypes) {
  return OpDef(name, since)
      .Versions(std::move(versions))
      .Input("data", "T")
      .Input("axes", "int64", Arity::kOptional)
      .Output("reduced", "T")
      .Attr("keepdims", 1)
      .Attr("noop_with_empty_axes", 0)
      .Types("T", dtypes)
      .NoGradientFor({1})
      .Infer(InferReduce);
}

OpDef OldReduceOp(const std::string& name, std::vector<int> versions, DTypeSet dtypes) {
  return OpDef(name, 1)
      .Versions(std::move(versions))
      .Input("data", "T")
      .Output("reduced", "T")
      .Attr("axes", Attr::Kind::kInts)
      .Attr("keepdims", 1)
      .Types("T", dtypes)
      .Infer([](InferContext& c) -> absl::Status {
        c.set_output(0, c.input_dtype(0), Shape());
        if (!c.input_shape(0).has_rank()) return absl::OkStatus();
        const Tensor axes = Tensor::Int64s(c.Ints("axes"));
        return SetReducedType(c, &axes);
      })
      .Body([name](BodyContext& b) {
        const std::vector<int64_t> axes = b.Ints("axes");
        b.Return(b.Op(name, {b.x(0), axes.empty() ? Expr() : b.builder().Ints(axes)},
                      {{"keepdims", b.Int("keepdims")}}));
      })
      .Try(Sample().In({2, 3, 4}, 0.5, 2).Attr("axes", std::vector<int64_t>{1, -1}))
      .Try(Sample().In({2, 3}, 0.5, 2).Attr("keepdims", 0))
      .Try(Sample().In({2, 3}).Attr("axes", std::vector<int64_t>{2}).Refused("axis"));
}

}  // namespace graphrun
