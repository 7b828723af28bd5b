// Squeeze, Unsqueeze: axes of size 1 taken away or put in.
//
// Source: https://onnx.ai/onnx/operators (Squeeze 1, 11, 13; Unsqueeze 1, 11, 13). Until version 11
// the axes are an attribute, from 13 an input. Both are views: where output and input share memory
// nothing is copied.
#include "ops/move.h"
#include "runtime/base/limits.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// Marks the axes named by `axes` in a shape of that rank.
absl::StatusOr<std::vector<bool>> MarkAxes(const std::vector<int64_t>& axes, int rank) {
  std::vector<bool> marked(static_cast<size_t>(rank), false);
  for (const int64_t axis : axes) {
    if (rank == 0 && (axis == 0 || axis == -1)) continue;
    GR_ASSIGN_OR_RETURN(const int normal, NormalizeAxis(axis, rank));
    if (marked[static_cast<size_t>(normal)]) return ModelError("axes name axis ", normal, " twice");
    marked[static_cast<size_t>(normal)] = true;
  }
  return marked;
}

absl::StatusOr<Shape> Squeezed(const Shape& x, const absl::optional<std::vector<int64_t>>& axes,
                               bool all) {
  if (!x.has_rank() || (!axes && !all)) return Shape();
  std::vector<Dim> kept;
  if (all) {
    for (const Dim& d : x.dims()) {
      if (!d.is_number()) return Shape();
      if (d.value() != 1) kept.push_back(d);
    }
    return Shape(std::move(kept));
  }
  GR_ASSIGN_OR_RETURN(const std::vector<bool> out, MarkAxes(*axes, x.rank()));
  for (int i = 0; i < x.rank(); ++i) {
    if (!out[static_cast<size_t>(i)]) {
      kept.push_back(x[i]);
    } else if (x[i].is_number() && x[i].value() != 1) {
      return ModelError("axis ", i, " of the input of shape ", x.ToString(),
                        " is to be squeezed, but its size is not 1");
    }
  }
  return Shape(std::move(kept));
}

absl::StatusOr<Shape> Unsqueezed(const Shape& x, const absl::optional<std::vector<int64_t>>& axes) {
  if (!x.has_rank() || !axes) return Shape();
  const auto rank = static_cast<size_t>(x.rank()) + axes->size();
  if (rank > static_cast<size_t>(kMaxRank)) {
    return ModelError("the output would have rank ", rank, "; at most ", kMaxRank,
                      " are supported");
  }
  GR_ASSIGN_OR_RETURN(const std::vector<bool> in, MarkAxes(*axes, static_cast<int>(rank)));
  std::vector<Dim> dims;
  int next = 0;
  for (size_t i = 0; i < rank; ++i) dims.push_back(in[i] ? Dim(1) : x[next++]);
  return Shape(std::move(dims));
}

absl::Status SetView(InferContext& c, absl::StatusOr<Shape> view) {
  if (!view.ok()) return Annotate(view.status(), c.node().Describe());
  Shape shape = *std::move(view);
  // A vector of one size and a scalar size are the same sizes.
  const auto sizes = c.sizes(0);
  if (sizes && shape.has_rank() && shape.rank() <= 1) c.set_sizes(0, *sizes);
  c.set_output(0, c.input_dtype(0), std::move(shape));
  return absl::OkStatus();
}

absl::Status InferSqueeze(InferContext& c) {
  return SetView(c, Squeezed(c.input_shape(0), c.ints(1), !c.has_input(1)));
}
absl::Status InferSqueeze1(InferContext& c) {
  return SetView(c, Squeezed(c.input_shape(0), c.Ints("axes"), !c.has_attr("axes")));
}
absl::Status InferUnsqueeze(InferContext& c) {
  return SetView(c, Unsqueezed(c.input_shape(0), c.ints(1)));
}
absl::Status InferUnsqueeze1(InferContext& c) {
  return SetView(c, Unsqueezed(c.input_shape(0), c.Ints("axes")));
}

template <bool kSqueeze>
KernelFactory AxesKernel() {
  return ViewKernel({1}, [](PrepareContext&) {
    return [](const InputValues& v, const Dims& x) -> absl::StatusOr<Dims> {
      const auto shape = kSqueeze ? Squeezed(Shape::Of(x), v.ints(1), v[1] == nullptr)
                                  : Unsqueezed(Shape::Of(x), v.ints(1));
      if (!shape.ok()) return shape.status();
      return shape->ToDims();
    };
  });
}

void ReshapeBack(GradContext& g) { g.dx(0, Reshape(g.dy(), ShapeOf(g.x(0)))); }

// The newest form, with the attribute as an input.
template <const char* const& kName>
void AxesAsInput(BodyContext& b) {
  const Expr axes = b.has_attr("axes") ? b.builder().Ints(b.Ints("axes")) : Expr();
  b.Return(b.Op(kName, {b.x(0), axes}));
}

constexpr const char* kSqueezeName = "Squeeze";
constexpr const char* kUnsqueezeName = "Unsqueeze";

}  // namespace

void RegisterSqueezeOps(OpRegistry& ops) {
  using Axes = std::vector<int64_t>;
  ops.Add(OpDef("Squeeze", 1)
              .Versions({1, 11})
              .Input("data", "T")
              .Output("squeezed", "T")
              .Attr("axes", Attr::Kind::kInts)
              .Types("T", kAnyType)
              .Infer(InferSqueeze1)
              .Body(AxesAsInput<kSqueezeName>)
              .Try(Sample().In({1, 3, 1}).Attr("axes", Axes{2}))
              .Try(Sample().In({1, 3, 1})));
  ops.Add(OpDef("Squeeze", 13)
              .Versions({13, 21, 23, 24, 25})
              .Input("data", "T")
              .Input("axes", "int64", Arity::kOptional)
              .Output("squeezed", "T")
              .Types("T", kAnyType)
              .Infer(InferSqueeze)
              .View()
              .InPlace(0, 0)
              .NoGradientFor({1})
              .Kernel("native", AxesKernel<true>())
              .Gradient(ReshapeBack)
              .Try(Sample().In({1, 3, 1, 5}).In(Tensor::Int64s({0})))
              .Try(Sample().In({1, 3, 1, 5}).In(Tensor::Int64s({-2, 0})))
              .Try(Sample().In({1, 3, 1, 5}))
              .Try(Sample().In(Dims{}).In(Tensor::Int64s({0})))
              .Try(Sample().In({1, 3}).In(Tensor::Int64s({0})).Variable())
              .Try(Sample().In({1, 3}).In(Tensor::Int64s({1})).Refused("size is not 1"))
              .Try(Sample().In({1, 3}).In(Tensor::Int64s({0, -2})).Refused("twice")));
  ops.Add(OpDef("Unsqueeze", 1)
              .Versions({1, 11})
              .Input("data", "T")
              .Output("expanded", "T")
              .RequiredAttr("axes", Attr::Kind::kInts)
              .Types("T", kAnyType)
              .Infer(InferUnsqueeze1)
              .Body(AxesAsInput<kUnsqueezeName>)
              .Try(Sample().In({3, 2}).Attr("axes", Axes{0, 3})));
  ops.Add(OpDef("Unsqueeze", 13)
              .Versions({13, 21, 23, 24, 25})
              .Input("data", "T")
              .Input("axes", "int64")
              .Output("expanded", "T")
              .Types("T", kAnyType)
              .Infer(InferUnsqueeze)
              .View()
              .InPlace(0, 0)
              .NoGradientFor({1})
              .Kernel("native", AxesKernel<false>())
              .Gradient(ReshapeBack)
              .Try(Sample().In({3, 2}).In(Tensor::Int64s({0, 2})))
              .Try(Sample().In({3, 2}).In(Tensor::Int64s({-1})))
              .Try(Sample().In(Dims{}).In(Tensor::Int64s({0})))
              .Try(Sample().In({3}).In(Tensor::Int64s({1})).Variable())
              .Try(Sample().In({3}).In(Tensor::Int64s({0, 0})).Refused("twice"))
              .Try(Sample().In({3}).In(Tensor::Int64s({4})).Refused("out of range")));
}

}  // namespace graphrun
