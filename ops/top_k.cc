// TopK: the largest or smallest elements along an axis, with their places.
//
// Source: https://onnx.ai/onnx/operators/onnx__TopK.html (1, 10, 11, 24). Of equal elements the one
// with the lower index comes first; NaN counts as larger than every number. Results are sorted
// whatever `sorted` says. Version 1 has k in an attribute.
#include <numeric>

#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferTopKBy(InferContext& c, absl::optional<int64_t> k) {
  Shape y = c.input_shape(0);
  if (y.has_rank()) {
    GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis", -1), y.rank()));
    if (k && (*k < 0 || (y[axis].is_number() && *k > y[axis].value()))) {
      return c.Error("K is ", *k, " but axis ", axis, " of the input of shape ", y.ToString(),
                     " has fewer elements");
    }
    y[axis] = k ? Dim(*k) : Dim();
  }
  c.set_output(0, c.input_dtype(0), y);
  c.set_output(1, DType::kInt64, y);
  return absl::OkStatus();
}

absl::Status InferTopK(InferContext& c) {
  const auto k = c.ints(1);
  if (k && k->size() != 1) return c.Error("K must have one element but has ", k->size());
  return InferTopKBy(c, k ? absl::optional<int64_t>((*k)[0]) : absl::nullopt);
}
absl::Status InferTopK1(InferContext& c) { return InferTopKBy(c, c.Int("k")); }

template <typename T>
absl::Status TopK(const Dims& dims, size_t axis, bool largest, RunContext& r) {
  const int64_t n = dims[axis];
  const Tensor& k_input = r.input(1);
  const int64_t k = k_input.num_elements() == 1 ? k_input.AsInt64s()[0] : -1;
  if (k < 0 || k > n) {
    return ModelError("K is ", k, " but the axis has ", n, " elements");
  }
  Dims out = dims;
  out[axis] = k;
  if (r.has_output(0)) GR_RETURN_IF_ERROR(r.ResizeOutput(0, r.input(0).dtype(), out));
  if (r.has_output(1)) GR_RETURN_IF_ERROR(r.ResizeOutput(1, DType::kInt64, out));
  const int64_t outer = Product(absl::MakeConstSpan(dims).subspan(0, axis));
  const int64_t inner = Product(absl::MakeConstSpan(dims).subspan(axis + 1));
  if (k == 0 || outer * inner == 0) return absl::OkStatus();
  const T* x = r.input(0).data<T>();
  T* values = r.has_output(0) ? r.output(0).mutable_data<T>() : nullptr;
  int64_t* places = r.has_output(1) ? r.output(1).mutable_data<int64_t>() : nullptr;
  using C = Compute<T>;
  struct Entry {
    C value;
    int64_t index;
  };
  const auto before = [largest](const Entry& a, const Entry& b) {
    const bool nan_a = a.value != a.value, nan_b = b.value != b.value;
    if (nan_a != nan_b) return nan_a == largest;
    if (!nan_a && a.value != b.value) return (a.value > b.value) == largest;
    return a.index < b.index;
  };
  ParallelFor(outer * inner, std::max<int64_t>(4096 / n, 1), [&](int64_t begin, int64_t end) {
    std::vector<Entry> row(static_cast<size_t>(n));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t o = i / inner, at = i % inner;
      for (int64_t e = 0; e < n; ++e)
        row[static_cast<size_t>(e)] = {static_cast<C>(x[(o * n + e) * inner + at]), e};
      const auto last = row.begin() + k;
      if (k < n) std::nth_element(row.begin(), last - 1, row.end(), before);
      std::sort(row.begin(), last, before);
      for (int64_t e = 0; e < k; ++e) {
        const Entry& entry = row[static_cast<size_t>(e)];
        const int64_t to = (o * k + e) * inner + at;
        if (values != nullptr) values[to] = x[(o * n + entry.index) * inner + at];
        if (places != nullptr) places[to] = entry.index;
      }
    }
  });
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> TopKKernel(PrepareContext& c) {
  const Dims dims = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const int axis,
                      NormalizeAxis(c.Int("axis", -1), static_cast<int>(dims.size())));
  const bool largest = c.Int("largest") != 0;
  std::unique_ptr<Kernel> kernel;
  DispatchDType(NumericTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([dims, axis, largest](RunContext& r) {
      return TopK<T>(dims, static_cast<size_t>(axis), largest, r);
    });
  });
  return kernel;
}

}  // namespace

void RegisterTopKOps(OpRegistry& ops) {
  ops.Add(OpDef("TopK", 1)
              .Input("X", "T")
              .Output("Values", "T")
              .Output("Indices", "int64")
              .Attr("axis", -1)
              .RequiredAttr("k", Attr::Kind::kInt)
              .Types("T", kFloats)
              .Infer(InferTopK1)
              .Body([](BodyContext& b) {
                b.Return(b.builder().Ops("TopK", {b.x(0), b.builder().Ints({b.Int("k")})}, 2,
                                         {{"axis", b.Int("axis")}}));
              })
              .Try(Sample().In({3, 4}).Attr("k", 2).Outputs(2)));
  ops.Add(
      OpDef("TopK", 10)
          .Versions({10, 11, 24})
          .Input("X", "T")
          .Input("K", "int64")
          .Output("Values", "T")
          .Output("Indices", "int64")
          .Attr("axis", -1)
          .Attr("largest", 1)
          .Attr("sorted", 1)
          .Types("T", kNumeric)
          .Infer(InferTopK)
          .NoGradientFor({1})
          .Kernel("native", TopKKernel)
          // dx = zeros with dy at the places taken
          .Gradient([](GradContext& g) {
            Builder& b = g.builder();
            Expr places =
                g.has_output(1) ? g.y(1) : b.Ops("TopK", {g.x(0), g.x(1)}, 2, g.node().attrs())[1];
            g.dx(0, b.Op("ScatterElements", {ZerosLike(g.x(0)), places, g.dy(0)},
                         {{"axis", g.Int("axis")}}));
          })
          .Try(Sample().In({3, 4}).In(Tensor::Int64s({3})).Outputs(2))
          .Try(Sample().In({4, 3}).In(Tensor::Int64s({2})).Attr("axis", 0).Outputs(2))
          .Try(Sample()
                   .In({2, 5, 3})
                   .In(Tensor::Int64s({2}))
                   .Attr("axis", 1)
                   .Attr("largest", 0)
                   .Outputs(2))
          .Try(Sample().In({3, 4}).In(Tensor::Int64s({1})).Variable().Outputs(2))
          .Try(Sample().In({3, 4}).In(Tensor::Int64s({0})).Outputs(2))
          .Try(Sample()
                   .In(Tensor::Of<int32_t>({4}, {1, 3, 3, 2}))
                   .In(Tensor::Int64s({2}))
                   .Outputs(2)
                   .Gives(Tensor::Of<int32_t>({2}, {3, 3}))
                   .Gives(Tensor::Int64s({1, 2})))
          .Try(Sample().In({3, 4}).In(Tensor::Int64s({5})).Outputs(2).Refused("fewer elements")));
}

}  // namespace graphrun
