// Where.
//
// Source: https://onnx.ai/onnx/operators/onnx__Where.html (16). Every element type.
#include <complex>
#include <string>

#include "ops/elementwise.h"

namespace graphrun {
namespace {

struct Bytes16 {
  uint64_t low, high;
};

template <typename T>
std::unique_ptr<Kernel> SelectKernel(const Broadcast<3>& broadcast) {
  return MakeKernel([broadcast](RunContext& r) {
    const bool* c = r.input(0).data<bool>();
    const T* x = static_cast<const T*>(r.input(1).raw());
    const T* y = static_cast<const T*>(r.input(2).raw());
    T* z = static_cast<T*>(r.output(0).mutable_raw());
    broadcast.ForEachRow([&](int64_t out, const std::array<int64_t, 3>& at,
                             const std::array<int64_t, 3>& step, int64_t n) {
      for (int64_t i = 0; i < n; ++i) {
        z[out + i] = c[at[0] + i * step[0]] ? x[at[1] + i * step[1]] : y[at[2] + i * step[2]];
      }
    });
    return absl::OkStatus();
  });
}

absl::StatusOr<std::unique_ptr<Kernel>> PrepareWhere(PrepareContext& c) {
  const Broadcast<3> broadcast(c.output_dims(0),
                               {c.input_dims(0), c.input_dims(1), c.input_dims(2)});
  if (c.output_dtype(0) == DType::kString) return SelectKernel<std::string>(broadcast);
  switch (DTypeSize(c.output_dtype(0))) {
    case 1:
      return SelectKernel<uint8_t>(broadcast);
    case 2:
      return SelectKernel<uint16_t>(broadcast);
    case 4:
      return SelectKernel<uint32_t>(broadcast);
    case 8:
      return SelectKernel<uint64_t>(broadcast);
    default:
      return SelectKernel<Bytes16>(broadcast);
  }
}

void WhereBlock(const float* const* x, int, float* y, int64_t n, const float*) {
  const float *c = x[0], *a = x[1], *b = x[2];
  GR_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = c[i] != 0 ? a[i] : b[i];
}

absl::Status InferWhere(InferContext& c) {
  GR_ASSIGN_OR_RETURN(Shape shape, c.BroadcastInputs(0, 2));
  c.set_output(0, c.input_dtype(1), std::move(shape));
  const Tensor* condition = c.constant(0);
  const auto a = c.sizes(1), b = c.sizes(2);
  if (condition == nullptr || !a || !b || condition->rank() > 1) return absl::OkStatus();
  const size_t n = std::max({static_cast<size_t>(condition->num_elements()), a->size(), b->size()});
  std::vector<Dim> sizes;
  for (size_t i = 0; i < n; ++i) {
    const size_t at = condition->num_elements() == 1 ? 0 : i;
    if (static_cast<int64_t>(at) >= condition->num_elements()) return absl::OkStatus();
    const std::vector<Dim>& from = condition->data<bool>()[at] ? *a : *b;
    if (from.size() != 1 && from.size() != n) return absl::OkStatus();
    sizes.push_back(from[from.size() == 1 ? 0 : i]);
  }
  c.set_sizes(0, std::move(sizes));
  return absl::OkStatus();
}

}  // namespace

void RegisterWhereOps(OpRegistry& ops) {
  const Tensor c = Tensor::Of<bool>({2, 2}, {true, false, false, true});
  ops.Add(OpDef("Where", 9)
              .Versions({9, 16})
              .Input("condition", "bool")
              .Input("X", "T")
              .Input("Y", "T")
              .Output("output", "T")
              .Types("T", kAnyType)
              .Infer(InferWhere)
              .InPlace(1, 0)
              .InPlace(2, 0)
              .NoGradientFor({0})
              .Kernel("block", BlockKernel())
              .Kernel("native", PrepareWhere)
              .PointwiseBlock(WhereBlock)
              // dx = dy where the condition holds, dy where it does not
              .Gradient([](GradContext& g) {
                Expr zero = g.builder().Scalar(g.dy().dtype(), 0);
                if (g.needs(1)) g.dx(1, Where(g.x(0), g.dy(), zero));
                if (g.needs(2)) g.dx(2, Where(g.x(0), zero, g.dy()));
              })
              .Try(Sample().In(c).In({2, 2}).In({2, 2}))
              .Try(Sample().In(c).In({2}).In({3, 1, 1}))
              .Try(Sample().In(Tensor::Of<bool>({}, {false})).In({2, 3}).In(Dims{}))
              .Try(Sample()
                       .In(Tensor::Of<bool>({2}, {true, false}))
                       .In(Tensor::Of<std::string>({2}, {"a", "b"}))
                       .In(Tensor::Of<std::string>({1}, {"c"}))
                       .Gives(Tensor::Of<std::string>({2}, {"a", "c"})))
              .Try(Sample()
                       .In(Tensor::Of<bool>({2}, {true, false}))
                       .In(Tensor::Of<int64_t>({2}, {1, 2}))
                       .In(Tensor::Of<int64_t>({1}, {3}))
                       .Gives(Tensor::Of<int64_t>({2}, {1, 3}))));
}

}  // namespace graphrun
