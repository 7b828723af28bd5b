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

// An element and its place along the axis.
template <typename C>
struct Entry {
  C value;
  int64_t index;
};

// True where a comes in front of b: NaN is the largest number, the first of equal ones comes first.
template <typename C>
bool Before(bool largest, const Entry<C>& a, const Entry<C>& b) {
  const bool nan_a = a.value != a.value, nan_b = b.value != b.value;
  if (nan_a != nan_b) return nan_a == largest;
  if (!nan_a && a.value != b.value) return (a.value > b.value) == largest;
  return a.index < b.index;
}

// The first k of the n elements at(i), in order, into `heap`, for k much less than n: the last of
// those so far is at the front of a heap, and stretches without an element before it are passed
// over. REQUIRES: 0 < k <= n.
template <typename C, typename At>
void FirstOfMany(int64_t n, int64_t k, bool largest, const At& at, std::vector<Entry<C>>* heap) {
  constexpr int64_t kStretch = 32;
  const auto before = [largest](const Entry<C>& a, const Entry<C>& b) {
    return Before(largest, a, b);
  };
  heap->clear();
  for (int64_t e = 0; e < k; ++e) heap->push_back({at(e), e});
  std::make_heap(heap->begin(), heap->end(), before);
  const auto take = [&](int64_t begin, int64_t end) {
    for (int64_t e = begin; e < end; ++e) {
      const Entry<C> entry{at(e), e};
      if (!before(entry, heap->front())) continue;
      std::pop_heap(heap->begin(), heap->end(), before);
      heap->back() = entry;
      std::push_heap(heap->begin(), heap->end(), before);
    }
  };
  int64_t e = k;
  for (; e + kStretch <= n; e += kStretch) {
    const C last = heap->front().value;
    bool any = false;
    if (largest) {
      for (int64_t i = 0; i < kStretch; ++i) any |= !(at(e + i) <= last);
    } else {
      for (int64_t i = 0; i < kStretch; ++i) any |= !(at(e + i) >= last);
    }
    if (any) take(e, e + kStretch);
  }
  take(e, n);
  std::sort_heap(heap->begin(), heap->end(), before);
}

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
  const auto before = [largest](const Entry<C>& a, const Entry<C>& b) {
    return Before(largest, a, b);
  };
  const bool few = k <= n / 16;
  ParallelFor(outer * inner, std::max<int64_t>(4096 / n, 1), [&](int64_t begin, int64_t end) {
    std::vector<Entry<C>> row(static_cast<size_t>(few ? k : n));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t o = i / inner, at = i % inner;
      const T* from = x + o * n * inner + at;
      if (few && inner == 1) {
        FirstOfMany(
            n, k, largest, [&](int64_t e) { return static_cast<C>(from[e]); }, &row);
      } else if (few) {
        FirstOfMany(
            n, k, largest, [&](int64_t e) { return static_cast<C>(from[e * inner]); }, &row);
      } else {
        for (int64_t e = 0; e < n; ++e)
          row[static_cast<size_t>(e)] = {static_cast<C>(from[e * inner]), e};
        const auto last = row.begin() + k;
        if (k < n) std::nth_element(row.begin(), last - 1, row.end(), before);
        std::sort(row.begin(), last, before);
      }
      for (int64_t e = 0; e < k; ++e) {
        const Entry<C>& entry = row[static_cast<size_t>(e)];
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
  // the remainders of 7, and zeros with some odd numbers between them
  Tensor sevens(DType::kInt32, {100}), odd = Tensor::Zeros(DType::kFloat32, {100});
  for (int64_t i = 0; i < 100; ++i) sevens.mutable_data<int32_t>()[i] = static_cast<int32_t>(i % 7);
  odd.mutable_data<float>()[20] = 1;
  odd.mutable_data<float>()[40] = INFINITY;
  odd.mutable_data<float>()[50] = -INFINITY;
  odd.mutable_data<float>()[70] = NAN;
  const auto many = [&](Sample sample, int64_t largest) {
    return std::move(sample.In(sevens).In(Tensor::Int64s({4})).Attr("largest", largest).Outputs(2));
  };
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
          .Try(Sample().In({2, 200}).In(Tensor::Int64s({3})).Outputs(2))
          .Try(Sample()
                   .In({1, 200, 2})
                   .In(Tensor::Int64s({4}))
                   .Attr("axis", 1)
                   .Attr("largest", 0)
                   .Outputs(2))
          .Try(many(Sample(), 1)
                   .Gives(Tensor::Of<int32_t>({4}, {6, 6, 6, 6}))
                   .Gives(Tensor::Int64s({6, 13, 20, 27})))
          .Try(many(Sample(), 0)
                   .Gives(Tensor::Of<int32_t>({4}, {0, 0, 0, 0}))
                   .Gives(Tensor::Int64s({0, 7, 14, 21})))
          .Try(Sample()
                   .In(odd)
                   .In(Tensor::Int64s({3}))
                   .Outputs(2)
                   .NoGradient("a NaN")
                   .Gives(Tensor::Of<float>({3}, {NAN, INFINITY, 1}))
                   .Gives(Tensor::Int64s({70, 40, 20})))
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
