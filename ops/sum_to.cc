// ai.graphrun.SumTo(x, like): x summed over the axes along which a tensor of like's shape was
// broadcast to x's shape. The inverse of broadcasting; gradients end in it where shapes are not
// surely equal.
#include "ops/native.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferSumTo(InferContext& c) {
  c.set_output(0, c.input_dtype(0), c.input_shape(1));
  return absl::OkStatus();
}

// Sums rows of the broadcast walk into the small tensor, one output element at a time in a fixed
// order.
template <typename T>
void Sum(const T* x, const Dims& from, T* y, const Dims& to) {
  using C = std::conditional_t<std::is_same_v<Compute<T>, float>, double, Compute<T>>;
  const size_t shift = from.size() - to.size();
  const Dims x_strides = RowMajorStrides(from);
  // Axes kept in the output and axes summed away, each with its stride in x.
  Dims kept, kept_stride, summed, summed_stride;
  for (size_t i = 0; i < from.size(); ++i) {
    const bool keep = i >= shift && to[i - shift] == from[i];
    (keep ? kept : summed).push_back(from[i]);
    (keep ? kept_stride : summed_stride).push_back(x_strides[i]);
  }
  const auto offset = [](int64_t index, const Dims& dims, const Dims& strides) {
    int64_t at = 0;
    for (size_t i = dims.size(); i-- > 0;) {
      at += index % dims[i] * strides[i];
      index /= dims[i];
    }
    return at;
  };
  const int64_t outputs = Product(kept), terms = Product(summed);
  ParallelFor(outputs, std::max<int64_t>(16384 / std::max<int64_t>(terms, 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t o = begin; o < end; ++o) {
                  const T* base = x + offset(o, kept, kept_stride);
                  C sum = 0;
                  for (int64_t t = 0; t < terms; ++t)
                    sum += static_cast<C>(base[offset(t, summed, summed_stride)]);
                  y[o] = T(sum);
                }
              });
}

}  // namespace

void RegisterSumToOps(OpRegistry& ops) {
  ops.Add(OpDef("SumTo", 1, kGraphrunDomain)
              .Input("X", "T")
              .Input("like", "U")
              .Output("Y", "T")
              .Types("T", kNumeric)
              .Types("U", kAnyType)
              .Infer(InferSumTo)
              .ShapeOnly(1)
              .NoOp([](const NodeContext& c) {
                return c.node().input(0)->shape().SurelyEquals(c.node().input(1)->shape()) ? 0 : -1;
              })
              .NoGradientFor({1})
              .Kernel("native",
                      [](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
                        std::unique_ptr<Kernel> kernel;
                        const Dims from = c.input_dims(0), to = c.input_dims(1);
                        DispatchDType(NumericTypes(), c.input_dtype(0), [&]<typename T>() {
                          kernel = MakeKernel([from, to](RunContext& r) {
                            Sum(r.input(0).data<T>(), from, r.output(0).mutable_data<T>(), to);
                            return absl::OkStatus();
                          });
                        });
                        return kernel;
                      })
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
                b.Return(Reshape(summed, shape));
              })
              .Try(Sample().In({2, 3}).In({3}))
              .Try(Sample().In({2, 3, 4}).In({3, 1}))
              .Try(Sample().In({2, 3}).In({2, 3}))
              .Try(Sample().In({2, 3}).In(Dims{})));
}

}  // namespace graphrun
