// ai.graphrun.SumTo(x, like): x summed over the axes along which a tensor of like's shape was
// broadcast to x's shape, in x's element type or (output_type=1) in float32. The inverse of
// broadcasting; gradients end in it where shapes are not surely equal.
#include "ops/reduction.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferSumTo(InferContext& c) {
  const int64_t to = c.Int("output_type", 0);
  const DType made = to == 0 ? c.input_dtype(0) : static_cast<DType>(to);
  if (made != c.input_dtype(0) && made != DType::kFloat32) {
    return c.Error("output_type is ", to, " but must be 0 or float32");
  }
  c.set_output(0, made, c.input_shape(1));
  return absl::OkStatus();
}

// Sizes that were not surely equal when the gradient was written may be so now.
int SameSizes(const NodeContext& c) {
  const Node& node = c.node();
  const Shape& x = node.input(0)->shape();
  const bool same = x.is_concrete() && x == node.input(1)->shape();
  return same && node.output(0)->dtype() == node.input(0)->dtype() ? 0 : -1;
}

absl::StatusOr<std::unique_ptr<Kernel>> PrepareSumTo(PrepareContext& c) {
  const Dims from = c.input_dims(0), to = c.input_dims(1);
  const size_t shift = from.size() - std::min(from.size(), to.size());
  std::vector<bool> fold(from.size(), true);
  for (size_t i = shift; i < from.size(); ++i) fold[i] = to[i - shift] != from[i];
  const ReductionAxes axes(from, fold);
  if (axes.num_outputs() != Product(to)) {
    return c.Error("input 0 has shape ", DimsToString(from), ", to which ", DimsToString(to),
                   " does not broadcast");
  }
  std::unique_ptr<Kernel> kernel;
  const bool full = c.output_dtype(0) != c.input_dtype(0);
  DispatchDType(NumericTypes(), c.input_dtype(0), [&]<typename T>() {
    c.Scratch(axes.num_partials() * static_cast<int64_t>(sizeof(Wide<T>)));
    kernel = MakeKernel([axes, full](RunContext& r) {
      const Reducer<SumFold<T>, T> reducer(axes, r.input(0).data<T>(), nullptr);
      auto* const partials = static_cast<Wide<T>*>(r.scratch());
      if (full) {
        reducer.Run(r.output(0).mutable_data<float>(), partials);
      } else {
        reducer.Run(r.output(0).mutable_data<T>(), partials);
      }
      return absl::OkStatus();
    });
  });
  return kernel;
}

}  // namespace

void RegisterSumToOps(OpRegistry& ops) {
  ops.Add(OpDef("SumTo", 1, kGraphrunDomain)
              .Input("X", "T")
              .Input("like", "U")
              .Output("Y", "T")
              .Types("T", kNumeric)
              .Attr("output_type", 0)
              .Types("U", kAnyType)
              .Infer(InferSumTo)
              .ShapeOnly(1)
              .NoOp(SameSizes)
              .NoGradientFor({1})
              .Kernel("native", PrepareSumTo)
              // dx = dy broadcast back
              .Gradient([](GradContext& g) { g.dx(0, Expand(g.dy(), ShapeOf(g.x(0)))); })
              // Axes of size 1 in `like`, and those that it lacks, are summed; then the result
              // takes like's shape.
              .Body([](BodyContext& b) {
                Builder& e = b.builder();
                Expr x = b.x(0), shape = ShapeOf(b.x(1));
                Expr missing = e.Op("Sub", {ShapeOf(ShapeOf(x)), ShapeOf(shape)});
                Expr ones =
                    e.Op("ConstantOfShape", {missing}, {{"value", Tensor::Of<int64_t>({1}, {1})}});
                Expr padded = ConcatAll({ones, shape}, 0);
                Expr axes = Squeeze(e.Op("NonZero", {Equal(padded, 1)}), {0});
                Expr summed =
                    e.Op("ReduceSum", {x, axes}, {{"keepdims", 1}, {"noop_with_empty_axes", 1}});
                const DType to = static_cast<DType>(b.Int("output_type", 0));
                b.Return(Reshape(to == DType::kUndefined ? summed : Cast(summed, to), shape));
              })
              .Try(Sample().In({2, 3}).In({3}))
              .Try(Sample().In({2, 3, 4}).In({3, 1}))
              .Try(Sample().In({2, 3}).In({2, 3}))
              .Try(Sample().In({2, 3}).In(Dims{}))
              .Try(Sample().In({2, 0, 3}).In({3}))
              .Try(Sample().In({700, 10}).In({10}))
              .Try(Sample().In({40, 1100}).In({1100}))
              .Try(Sample().In({5, 3, 700}).In({3, 1}))
              .Try(Sample().In({3, 17000}).In(Dims{})));
}

}  // namespace graphrun
