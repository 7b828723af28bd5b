// NonZero, Compress, Unique: results whose sizes depend on the elements.
//
// Source: https://onnx.ai/onnx/operators (NonZero 9, 13; Compress 9, 11; Unique 11). NonZero of a
// scalar treats it as a tensor of one axis, as NumPy does.
#include <numeric>

#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

using ScalarTypes =
    Concat<Concat<NumericTypes, Concat<SmallFloatTypes, SmallIntTypes>>, TypeList<bool>>;

// Calls f.operator()<T>(is_zero) where is_zero(const T&) compares with the type's zero.
template <typename F>
void DispatchAny(DType dtype, F&& f) {
  if (dtype == DType::kString) return f.template operator()<std::string>();
  if (dtype == DType::kComplex64) return f.template operator()<std::complex<float>>();
  if (dtype == DType::kComplex128) return f.template operator()<std::complex<double>>();
  DispatchDType(ScalarTypes(), dtype, f);
}

template <typename T>
bool IsZero(const T& v) {
  if constexpr (std::is_same_v<T, std::string>) {
    return v.empty();
  } else if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::complex<float>> ||
                       std::is_same_v<T, std::complex<double>>) {
    return v == T();
  } else {
    return static_cast<Compute<T>>(v) == 0;
  }
}

absl::Status InferNonZero(InferContext& c) {
  const Shape& x = c.input_shape(0);
  const Dim rank = x.has_rank() ? Dim(std::max(x.rank(), 1)) : Dim();
  c.set_output(0, DType::kInt64, Shape({rank, Dim()}));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> NonZeroKernel(PrepareContext& c) {
  std::unique_ptr<Kernel> kernel;
  DispatchAny(c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([](RunContext& r) -> absl::Status {
      const Tensor& x = r.input(0);
      const T* p = x.data<T>();
      const int64_t n = x.num_elements();
      int64_t count = 0;
      for (int64_t i = 0; i < n; ++i) count += !IsZero(p[i]);
      const int rank = std::max(x.rank(), 1);
      GR_RETURN_IF_ERROR(r.ResizeOutput(0, DType::kInt64, {rank, count}));
      int64_t* y = r.output(0).mutable_data<int64_t>();
      int64_t found = 0;
      for (int64_t i = 0; i < n; ++i) {
        if (IsZero(p[i])) continue;
        int64_t rest = i;
        for (int a = rank; a-- > 0;) {
          const int64_t size = x.rank() == 0 ? 1 : x.dim(a);
          y[a * count + found] = rest % size;
          rest /= size;
        }
        ++found;
      }
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::Status InferCompress(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (!c.has_attr("axis")) {
    c.set_output(0, c.input_dtype(0), Shape({Dim()}));
    return absl::OkStatus();
  }
  Shape y = x;
  if (x.has_rank()) {
    GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis"), x.rank()));
    y[axis] = Dim();
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> CompressKernel(PrepareContext& c) {
  const Dims x = c.input_dims(0);
  Dims dims = {Product(x)};
  size_t axis = 0;
  if (c.has_attr("axis")) {
    GR_ASSIGN_OR_RETURN(const int a, NormalizeAxis(c.Int("axis"), static_cast<int>(x.size())));
    axis = static_cast<size_t>(a);
    dims = x;
  }
  return MakeKernel([dims, axis](RunContext& r) -> absl::Status {
    const bool* keep = r.input(1).data<bool>();
    // Conditions may be shorter than the axis; what lies beyond them is dropped.
    const int64_t n = std::min(r.input(1).num_elements(), dims[axis]);
    const int64_t count = std::count(keep, keep + n, true);
    Dims out = dims;
    out[axis] = count;
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, r.input(0).dtype(), out));
    const int64_t outer = Product(absl::MakeConstSpan(dims).subspan(0, axis));
    const int64_t inner = Product(absl::MakeConstSpan(dims).subspan(axis + 1));
    DispatchRows(r.input(0).dtype(), [&]<typename W>(int64_t scale) {
      const W* from = static_cast<const W*>(r.input(0).raw());
      W* to = static_cast<W*>(r.output(0).mutable_raw());
      const int64_t row = inner * scale;
      for (int64_t o = 0; o < outer; ++o) {
        for (int64_t i = 0; i < n; ++i) {
          if (!keep[i]) continue;
          CopyRow(from + (o * dims[axis] + i) * row, to, row);
          to += row;
        }
      }
    });
    return absl::OkStatus();
  });
}

// dx = zeros with dy's rows where the condition held
void CompressGradient(GradContext& g) {
  Builder& b = g.builder();
  Expr rows = Squeeze(b.Op("NonZero", {g.x(1)}), {0});
  if (g.has_attr("axis")) {
    return g.dx(
        0, b.Op("GatherGrad", {g.dy(), g.x(0), rows}, {{"axis", g.Int("axis")}}, kGraphrunDomain));
  }
  Expr flat = Reshape(g.x(0), {-1});
  Expr dx = b.Op("GatherGrad", {g.dy(), flat, rows}, {{"axis", 0}}, kGraphrunDomain);
  g.dx(0, Reshape(dx, ShapeOf(g.x(0))));
}

absl::Status InferUnique(InferContext& c) {
  const Shape& x = c.input_shape(0);
  Shape y({Dim()});
  Dim inverse;
  if (c.has_attr("axis")) {
    y = x;
    if (x.has_rank()) {
      GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis"), x.rank()));
      inverse = x[axis];
      y[axis] = Dim();
    }
  } else if (x.is_concrete()) {
    const auto n = NumElements(x.ToDims());
    if (!n.ok()) return Annotate(n.status(), c.node().Describe());
    inverse = Dim(*n);
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  c.set_output(1, DType::kInt64, Shape({Dim()}));
  c.set_output(2, DType::kInt64, Shape({inverse}));
  c.set_output(3, DType::kInt64, Shape({Dim()}));
  return absl::OkStatus();
}

// x seen as [outer, n, inner]: slice i is x[:, i, :].
struct Slices {
  int64_t outer = 1, n = 0, inner = 1;
};

// -1, 0 or 1; NaN after every number and equal to itself.
template <typename T>
int CompareValues(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, std::string>) {
    return a.compare(b);
  } else {
    const auto u = static_cast<Compute<T>>(a), v = static_cast<Compute<T>>(b);
    if (u < v) return -1;
    if (v < u) return 1;
    const bool nan_u = u != u, nan_v = v != v;
    return nan_u == nan_v ? 0 : nan_u ? 1 : -1;
  }
}

template <typename T>
int CompareSlices(const T* x, const Slices& s, int64_t i, int64_t k) {
  for (int64_t o = 0; o < s.outer; ++o) {
    const T* a = x + (o * s.n + i) * s.inner;
    const T* b = x + (o * s.n + k) * s.inner;
    for (int64_t e = 0; e < s.inner; ++e) {
      const int order = CompareValues(a[e], b[e]);
      if (order != 0) return order;
    }
  }
  return 0;
}

template <typename T>
absl::Status Unique(const Slices& s, const Dims& dims, size_t axis, bool sorted, RunContext& r) {
  const T* x = r.input(0).data<T>();
  std::vector<int64_t> order(static_cast<size_t>(s.n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return CompareSlices(x, s, a, b) < 0; });
  // Groups of equal slices in sorted order; the first of each is the earliest one.
  std::vector<int64_t> firsts, counts, group(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || CompareSlices(x, s, order[i - 1], order[i]) != 0) {
      firsts.push_back(order[i]);
      counts.push_back(0);
    }
    ++counts.back();
    group[static_cast<size_t>(order[i])] = static_cast<int64_t>(firsts.size()) - 1;
  }
  std::vector<size_t> place(firsts.size());
  std::iota(place.begin(), place.end(), size_t{0});
  if (!sorted) {
    std::sort(place.begin(), place.end(),
              [&](size_t a, size_t b) { return firsts[a] < firsts[b]; });
  }
  std::vector<int64_t> rank(place.size());
  for (size_t i = 0; i < place.size(); ++i) rank[place[i]] = static_cast<int64_t>(i);
  const auto n = static_cast<int64_t>(firsts.size());
  Dims out = dims;
  out[axis] = n;
  if (r.has_output(0)) {
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, r.input(0).dtype(), out));
    T* y = r.output(0).mutable_data<T>();
    for (int64_t o = 0; o < s.outer; ++o) {
      for (int64_t i = 0; i < n; ++i) {
        const T* from = x + (o * s.n + firsts[place[static_cast<size_t>(i)]]) * s.inner;
        std::copy(from, from + s.inner, y + (o * n + i) * s.inner);
      }
    }
  }
  const auto vector = [&](int output, int64_t size, auto value) -> absl::Status {
    if (!r.has_output(output)) return absl::OkStatus();
    GR_RETURN_IF_ERROR(r.ResizeOutput(output, DType::kInt64, {size}));
    int64_t* to = r.output(output).mutable_data<int64_t>();
    for (int64_t i = 0; i < size; ++i) to[i] = value(static_cast<size_t>(i));
    return absl::OkStatus();
  };
  GR_RETURN_IF_ERROR(vector(1, n, [&](size_t i) { return firsts[place[i]]; }));
  GR_RETURN_IF_ERROR(vector(2, s.n, [&](size_t i) { return rank[static_cast<size_t>(group[i])]; }));
  return vector(3, n, [&](size_t i) { return counts[place[i]]; });
}

absl::StatusOr<std::unique_ptr<Kernel>> UniqueKernel(PrepareContext& c) {
  const Dims x = c.input_dims(0);
  Slices s;
  Dims dims = {Product(x)};
  size_t axis = 0;
  s.n = dims[0];
  if (c.has_attr("axis")) {
    GR_ASSIGN_OR_RETURN(const int a, NormalizeAxis(c.Int("axis"), static_cast<int>(x.size())));
    axis = static_cast<size_t>(a);
    dims = x;
    s = {Product(absl::MakeConstSpan(x).subspan(0, axis)), x[axis],
         Product(absl::MakeConstSpan(x).subspan(axis + 1))};
  }
  const bool sorted = c.Int("sorted") != 0;
  std::unique_ptr<Kernel> kernel;
  using Types = Concat<NumericTypes, TypeList<bool, std::string>>;
  DispatchDType(Types(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel(
        [s, dims, axis, sorted](RunContext& r) { return Unique<T>(s, dims, axis, sorted, r); });
  });
  return kernel;
}

}  // namespace

void RegisterNonZeroOps(OpRegistry& ops) {
  ops.Add(OpDef("NonZero", 9)
              .Versions({9, 13})
              .Input("X", "T")
              .Output("Y", "int64")
              .Types("T", kAnyType)
              .Infer(InferNonZero)
              .Kernel("native", NonZeroKernel)
              .NotDifferentiable("integer result")
              .Try(Sample()
                       .In(Tensor::Of<float>({2, 2}, {1, 0, -0.0f, 2}))
                       .Gives(Tensor::Of<int64_t>({2, 2}, {0, 1, 0, 1})))
              .Try(Sample()
                       .In(Tensor::Of<bool>({3}, {true, false, true}))
                       .Gives(Tensor::Of<int64_t>({1, 2}, {0, 2})))
              .Try(Sample().In(Tensor::Scalar<int32_t>(3)).Gives(Tensor::Of<int64_t>({1, 1}, {0})))
              .Try(Sample().In({0, 3})));
  const Tensor condition = Tensor::Of<bool>({2}, {false, true});
  ops.Add(OpDef("Compress", 9)
              .Versions({9, 11})
              .Input("input", "T")
              .Input("condition", "bool")
              .Output("output", "T")
              .Attr("axis", Attr::Kind::kInt)
              .Types("T", kAnyType)
              .Infer(InferCompress)
              .NoGradientFor({1})
              .Kernel("native", CompressKernel)
              .Gradient(CompressGradient)
              .Try(Sample().In({3, 2}).In(condition).Attr("axis", 0))
              .Try(Sample().In({3, 2}).In(condition).Attr("axis", -1))
              .Try(Sample().In({3, 2}).In(Tensor::Of<bool>({5}, {true, false, false, true, true})))
              .Try(Sample()
                       .In(Tensor::Of<std::string>({2}, {"a", "b"}))
                       .In(condition)
                       .Gives(Tensor::Of<std::string>({1}, {"b"}))));
  ops.Add(OpDef("Unique", 11)
              .Input("X", "T")
              .Output("Y", "T")
              .Output("indices", "int64", Arity::kOptional)
              .Output("inverse_indices", "int64", Arity::kOptional)
              .Output("counts", "int64", Arity::kOptional)
              .Attr("axis", Attr::Kind::kInt)
              .Attr("sorted", 1)
              .Types("T", kNumeric | kBools | kStringsOnly)
              .Infer(InferUnique)
              .Kernel("native", UniqueKernel)
              .NotDifferentiable("the standard calls it so")
              .Try(Sample()
                       .In(Tensor::Of<float>({6}, {2, 1, 1, 3, 4, 3}))
                       .Outputs(4)
                       .Gives(Tensor::Of<float>({4}, {1, 2, 3, 4}))
                       .Gives(Tensor::Int64s({1, 0, 3, 4}))
                       .Gives(Tensor::Int64s({1, 0, 0, 2, 3, 2}))
                       .Gives(Tensor::Int64s({2, 1, 2, 1})))
              .Try(Sample()
                       .In(Tensor::Of<float>({6}, {2, 1, 1, 3, 4, 3}))
                       .Attr("sorted", 0)
                       .Outputs(4)
                       .Gives(Tensor::Of<float>({4}, {2, 1, 3, 4}))
                       .Gives(Tensor::Int64s({0, 1, 3, 4}))
                       .Gives(Tensor::Int64s({0, 1, 1, 2, 3, 2}))
                       .Gives(Tensor::Int64s({1, 2, 2, 1})))
              .Try(Sample()
                       .In(Tensor::Of<int32_t>({2, 3}, {1, 1, 0, 2, 2, 5}))
                       .Attr("axis", 1)
                       .Outputs(4)
                       .Gives(Tensor::Of<int32_t>({2, 2}, {0, 1, 5, 2})))
              .Try(Sample().In({0}).Outputs(2))
              .Try(Sample().In(Tensor::Of<std::string>({3}, {"b", "a", "b"})).Outputs(3)));
}

}  // namespace graphrun
