// LayerNormalization and RMSNormalization, and their gradient as an operator.
//
// Source: https://onnx.ai/onnx/operators (LayerNormalization 17, RMSNormalization 23); Ba et al.
// (2016), arXiv:1607.06450; Zhang and Sennrich (2019), arXiv:1910.07467. Statistics are computed in
// f32 or better whatever stash_type says; it is the element type of the outputs Mean and
// InvStdDev. Scale and bias may broadcast to the normalised axes.
#include "ops/norm_rows.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status CheckScale(InferContext& c, int i, const Shape& x, int axis) {
  const Shape& s = c.input_shape(i);
  if (!c.has_input(i) || !s.has_rank()) return absl::OkStatus();
  bool fits = s.rank() <= x.rank();
  for (int a = 0; fits && a < s.rank(); ++a) {
    const Dim& own = s[s.rank() - 1 - a];
    const Dim& whole = x[x.rank() - 1 - a];
    if (!own.is_number() || own.value() == 1) continue;
    fits = a < x.rank() - axis && (!whole.is_number() || own.value() == whole.value());
  }
  if (fits) return absl::OkStatus();
  return c.Error("input ", i, " has shape ", s.ToString(), " but must broadcast to the axes from ",
                 axis, " of ", x.ToString());
}

// Output `y` like the input `x`; outputs y + 1 and y + 2 hold statistics where the node has them.
absl::Status InferForward(InferContext& c) {
  const Shape& x = c.input_shape(0);
  const bool own_type = c.def().name() == "RMSNormalization" && c.has_input(1);
  c.set_output(0, own_type ? c.input_dtype(1) : c.input_dtype(0), x);
  const DType stash = static_cast<DType>(c.Int("stash_type", 1));
  if (stash != DType::kFloat32 && stash != DType::kBFloat16 && stash != DType::kFloat16 &&
      stash != DType::kFloat64) {
    return c.Error("stash_type ", c.Int("stash_type", 1), " is no float type; use 1 (float32)");
  }
  if (!x.has_rank()) {
    for (const int o : {1, 2}) c.set_output(o, stash, Shape());
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis", -1), x.rank()));
  for (const int i : {1, 2}) GR_RETURN_IF_ERROR(CheckScale(c, i, x, axis));
  Shape reduced = x;
  for (int a = axis; a < x.rank(); ++a) reduced[a] = Dim(1);
  for (const int o : {1, 2}) c.set_output(o, stash, reduced);
  return absl::OkStatus();
}

absl::Status InferBackward(InferContext& c) {
  const Shape& x = c.input_shape(1);
  c.set_output(0, c.input_dtype(1), x);
  Shape normalized;
  if (x.has_rank()) {
    GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis", -1), x.rank()));
    normalized = Shape(std::vector<Dim>(x.dims().begin() + axis, x.dims().end()));
  }
  for (const int o : {1, 2}) c.set_output(o, c.input_dtype(2), normalized);
  return absl::OkStatus();
}

// The rows of input `x`, and how to spread a scale over the normalised axes.
struct LayerCase {
  NormCase norm;
  Dims normalized;
  bool center;
  LayerCase(PrepareContext& c, int x, bool centered) : center(centered) {
    const Dims dims = c.input_dims(x);
    const auto axis =
        static_cast<size_t>(*NormalizeAxis(c.Int("axis", -1), static_cast<int>(dims.size())));
    normalized.assign(dims.begin() + static_cast<std::ptrdiff_t>(axis), dims.end());
    norm.n = norm.channels = Product(normalized);
    norm.rows = Product(absl::MakeConstSpan(dims).subspan(0, axis));
    norm.epsilon = c.Float("epsilon", 1e-5f);
    norm.center = centered;
  }
  // `t` as n elements: itself, or its broadcast form written to `room`.
  template <typename T>
  const T* Spread(const Tensor& t, T* room) const {
    const T* from = t.data<T>();
    if (t.num_elements() == norm.n) return from;
    Dims own = t.dims();
    while (own.size() > normalized.size()) own.erase(own.begin());
    Broadcast<1>(normalized, {own})
        .ForEachRow([&](int64_t out, const std::array<int64_t, 1>& at,
                        const std::array<int64_t, 1>& step, int64_t n) {
          for (int64_t i = 0; i < n; ++i) room[out + i] = from[at[0] + i * step[0]];
        });
    return room;
  }
};

template <typename S>
void Store(const RowStatistics<S>* s, int64_t rows, S RowStatistics<S>::*field, Tensor& out) {
  DispatchDType(FloatTypes(), out.dtype(), [&]<typename U>() {
    U* to = out.mutable_data<U>();
    for (int64_t r = 0; r < rows; ++r) to[r] = U(s[r].*field);
  });
}

// T: x and y; P: scale and bias; S: statistics.
template <typename T, typename P, typename S>
std::unique_ptr<Kernel> Forward(PrepareContext& c, bool center) {
  const LayerCase layer(c, 0, center);
  const int64_t n = layer.norm.n, rows = layer.norm.rows;
  c.Scratch(rows * int64_t{sizeof(RowStatistics<S>)} + 2 * n * int64_t{sizeof(P)});
  return MakeKernel([=](RunContext& r) {
    auto* statistics = static_cast<RowStatistics<S>*>(r.scratch());
    P* room = reinterpret_cast<P*>(statistics + rows);
    const P* scale = layer.Spread(r.input(1), room);
    const P* bias = r.has_input(2) ? layer.Spread(r.input(2), room + n) : nullptr;
    NormForward<S>(layer.norm, r.input(0).data<T>(), scale, bias, r.output(0).mutable_data<T>(),
                   statistics);
    if (r.has_output(1) && r.num_outputs() > 1)
      Store(statistics, rows, &RowStatistics<S>::mean, r.output(1));
    if (r.has_output(2)) Store(statistics, rows, &RowStatistics<S>::inverse, r.output(2));
    return absl::OkStatus();
  });
}

template <typename T, typename P, typename S>
std::unique_ptr<Kernel> Backward(PrepareContext& c) {
  const LayerCase layer(c, 1, c.Int("center", 1) != 0);
  const int64_t n = layer.norm.n, sums = NormScratch(layer.norm);
  c.Scratch(sums + n * int64_t{sizeof(P)});
  return MakeKernel([=](RunContext& r) {
    P* room = reinterpret_cast<P*>(static_cast<char*>(r.scratch()) + sums);
    NormBackward<S>(layer.norm, r.input(0).data<T>(), r.input(1).data<T>(),
                    layer.Spread(r.input(2), room), r.output(0).mutable_data<T>(),
                    r.has_output(1) ? r.output(1).mutable_data<P>() : nullptr,
                    r.has_output(2) ? r.output(2).mutable_data<P>() : nullptr, r.scratch());
    return absl::OkStatus();
  });
}

using FastTypes = TypeList<float, BFloat16>;

// True where x (input `x`), what has its type, and the parameters (all others from 1 on) are of T
// and P.
template <typename T, typename P>
bool Are(PrepareContext& c, std::vector<int> xs, std::vector<int> parameters) {
  const auto all = [&](const std::vector<int>& inputs, DType dtype) {
    return std::all_of(inputs.begin(), inputs.end(),
                       [&](int i) { return !c.has_input(i) || c.input_dtype(i) == dtype; });
  };
  return all(xs, kDTypeOf<T>) && all(parameters, kDTypeOf<P>);
}

KernelFactory ForwardKernel(bool fast, bool center) {
  return [fast, center](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    if (fast && center && Are<BFloat16, float>(c, {0}, {1, 2})) {
      return Forward<BFloat16, float, float>(c, center);
    }
    if (fast) {
      DispatchDType(FastTypes(), c.input_dtype(0), [&]<typename T>() {
        if (Are<T, T>(c, {0}, {1, 2})) kernel = Forward<T, T, float>(c, center);
      });
    } else {
      DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
        if (Are<T, T>(c, {0}, {1, 2})) kernel = Forward<T, T, NormWide<T>>(c, center);
      });
    }
    return kernel;
  };
}

KernelFactory BackwardKernel(bool fast) {
  return [fast](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    if (fast && Are<BFloat16, float>(c, {0, 1}, {2})) return Backward<BFloat16, float, float>(c);
    if (fast) {
      DispatchDType(FastTypes(), c.input_dtype(1), [&]<typename T>() {
        if (Are<T, T>(c, {0, 1}, {2})) kernel = Backward<T, T, float>(c);
      });
    } else {
      DispatchDType(FloatTypes(), c.input_dtype(1), [&]<typename T>() {
        if (Are<T, T>(c, {0, 1}, {2})) kernel = Backward<T, T, NormWide<T>>(c);
      });
    }
    return kernel;
  };
}

// The axes from `axis` on; counted from the end where the rank is not known.
std::vector<int64_t> AxesFrom(int64_t axis, const Shape& x) {
  std::vector<int64_t> axes;
  if (axis >= 0 && x.has_rank()) axis -= x.rank();
  for (int64_t a = axis; a < 0; ++a) axes.push_back(a);
  return axes;
}

struct Hat {
  Expr value, mean, inverse;  // mean is undefined where nothing is centred
  Hat(Expr x, const std::vector<int64_t>& axes, float epsilon, bool center) {
    Expr d = x;
    if (center) {
      mean = ReduceMean(x, axes, true);
      d = x - mean;
    }
    inverse = Reciprocal(Sqrt(ReduceMean(d * d, axes, true) + double{epsilon}));
    value = d * inverse;
  }
};

void ForwardBody(BodyContext& b, bool center) {
  const int64_t axis = b.Int("axis", -1);
  Expr x = b.x(0), scale = b.x(1);
  if (axis >= 0 && !x.shape().has_rank()) return b.Refuse(b.Error("the input's rank is unknown"));
  const DType stash = static_cast<DType>(b.Int("stash_type", 1));
  const DType wide = x.dtype() == DType::kFloat64 ? x.dtype() : stash;
  const Hat hat(Cast(x, wide), AxesFrom(axis, x.shape()), b.Float("epsilon", 1e-5f), center);
  Expr y = Cast(hat.value, scale.dtype()) * scale;
  if (b.has_input(2)) y = y + b.x(2);
  if (center && y.dtype() != x.dtype()) y = Cast(y, x.dtype());
  std::vector<Expr> outputs = {y};
  if (center) {
    outputs.push_back(Cast(hat.mean, stash));
    outputs.push_back(Cast(hat.inverse, stash));
  }
  b.Return(outputs);
}

void BackwardBody(BodyContext& b) {
  Expr dy = b.x(0), x = b.x(1), scale = b.x(2);
  if (!x.shape().has_rank()) return b.Refuse(b.Error("the input's rank is unknown"));
  const DType parameters = scale.dtype();
  if (parameters != x.dtype()) scale = Cast(scale, x.dtype());
  const std::vector<int64_t> axes = AxesFrom(b.Int("axis", -1), x.shape());
  const bool center = b.Int("center", 1) != 0;
  const Hat hat(x, axes, b.Float("epsilon", 1e-5f), center);
  Expr g = dy * scale;
  Expr inner = g - hat.value * ReduceMean(g * hat.value, axes, true);
  if (center) inner = inner - ReduceMean(g, axes, true);
  std::vector<int64_t> leading;
  for (int a = 0; a < x.shape().rank() - static_cast<int>(axes.size()); ++a) leading.push_back(a);
  Expr dscale = dy * hat.value;
  dscale = leading.empty() ? dscale : ReduceSum(dscale, leading, false);
  Expr dbias = leading.empty() ? Identity(dy) : ReduceSum(dy, leading, false);
  if (parameters != x.dtype()) {
    dscale = Cast(dscale, parameters);
    dbias = Cast(dbias, parameters);
  }
  b.Return({hat.inverse * inner, dscale, dbias});
}

void EmitGradient(GradContext& g, bool center) {
  if (!g.has_dy(0)) return;
  Builder& e = g.builder();
  Expr dy = g.dy(), scale = g.x(1);
  if (scale.dtype() != g.x(0).dtype()) {
    dy = Cast(dy, g.x(0).dtype());
    scale = Cast(scale, g.x(0).dtype());
  }
  const int outputs = g.needs(2) ? 3 : g.needs(1) ? 2 : 1;
  const std::vector<Expr> d = e.Ops(
      "LayerNormGrad", {dy, g.x(0), scale}, outputs,
      {{"axis", g.Int("axis", -1)}, {"epsilon", g.Float("epsilon", 1e-5f)}, {"center", center}},
      kGraphrunDomain);
  g.dx(0, d[0]);
  if (g.needs(1)) g.dx(1, Cast(d[1], g.x(1).dtype()));
  if (g.needs(2)) g.dx(2, d[2]);
}

}  // namespace

void RegisterLayerNormOps(OpRegistry& ops) {
  ops.Add(OpDef("LayerNormalization", 17)
              .Input("X", "T")
              .Input("Scale", "V")
              .Input("B", "V", Arity::kOptional)
              .Output("Y", "T")
              .Output("Mean", "U", Arity::kOptional)
              .Output("InvStdDev", "U", Arity::kOptional)
              .Types("V", kFloats)
              .Parameter(1, ParameterKind::kNormalization)
              .Parameter(2, ParameterKind::kNormalization)
              .Types("T", kFloats)
              .Types("U", kFloats)
              .Attr("axis", -1)
              .Attr("epsilon", 1e-5f)
              .Attr("stash_type", 1)
              .Infer(InferForward)
              .InPlace(0, 0)
              .Kernel("fast", ForwardKernel(true, true))
              .Kernel("native", ForwardKernel(false, true))
              .Body([](BodyContext& b) { ForwardBody(b, true); })
              // See LayerNormGrad; reads x and scale, nothing through Mean and InvStdDev
              .Gradient([](GradContext& g) { EmitGradient(g, true); })
              .Try(Sample().In({3, 40}).In({40}).In({40}))
              .Try(Sample().In({3, 128}).In({128}).In({128}))
              .Try(Sample().In({2, 64}).In({64}))
              .Try(Sample().In({2, 3, 4}).In({4}))
              .Try(Sample().In({2, 3, 4}).In({3, 4}).In({3, 4}).Attr("axis", 1))
              .Try(Sample().In({2, 3, 4}).In({4}).In({3, 1}).Attr("axis", -2))
              .Try(Sample().In({5}).In({5}).In({5}).Attr("axis", 0).Attr("epsilon", 0.1f))
              .Try(Sample().In({3, 4}).In({4}).In({4}).Outputs(3).NoGradient("float32 outputs"))
              .Try(Sample().In({0, 4}).In({4}).In({4}))
              .Try(Sample().In({3, 4}).In({3}).Refused("must broadcast")));
  ops.Add(OpDef("RMSNormalization", 23)
              .Input("X", "T")
              .Input("scale", "V")
              .Output("Y", "V")
              .Parameter(1, ParameterKind::kNormalization)
              .Types("T", kFloats)
              .Types("V", kFloats)
              .Attr("axis", -1)
              .Attr("epsilon", 1e-5f)
              .Attr("stash_type", 1)
              .Infer(InferForward)
              .InPlace(0, 0)
              .Kernel("fast", ForwardKernel(true, false))
              .Kernel("native", ForwardKernel(false, false))
              .Body([](BodyContext& b) { ForwardBody(b, false); })
              // See LayerNormGrad with center = 0; reads x and scale
              .Gradient([](GradContext& g) { EmitGradient(g, false); })
              .Try(Sample().In({3, 40}).In({40}))
              .Try(Sample().In({3, 64}).In({64}))
              .Try(Sample().In({2, 3, 4}).In({3, 4}).Attr("axis", 1))
              .Try(Sample().In({2, 3, 4}).In({1}).Attr("axis", 0))
              .Try(Sample().In({0, 4}).In({4})));
  // dx = inverse * (g - mean(g) - x^ * mean(g * x^)) with g = dy * scale;
  // dscale = sum(dy * x^), dbias = sum(dy), both of the sizes of the normalised axes.
  ops.Add(OpDef("LayerNormGrad", 1, kGraphrunDomain)
              .Input("dY", "T")
              .Input("X", "T")
              .Input("Scale", "V")
              .Output("dX", "T")
              .Output("dScale", "V", Arity::kOptional)
              .Output("dB", "V", Arity::kOptional)
              .Types("T", kFloats)
              .Types("V", kFloats)
              .Attr("axis", -1)
              .Attr("epsilon", 1e-5f)
              .Attr("center", 1)
              .Infer(InferBackward)
              .InPlace(0, 0)
              .InPlace(1, 0)
              .Kernel("fast", BackwardKernel(true))
              .Kernel("native", BackwardKernel(false))
              .Body(BackwardBody)
              .Try(Sample().In({70, 20}).In({70, 20}).In({20}).Outputs(3))
              .Try(Sample().In({2, 3, 4}).In({2, 3, 4}).In({3, 4}).Attr("axis", 1).Outputs(2))
              .Try(Sample().In({2, 3, 4}).In({2, 3, 4}).In({4}).Attr("center", 0).Outputs(3))
              .Try(Sample().In({2, 3}).In({2, 3}).In({1}).Attr("axis", 0).Outputs(3))
              .Try(Sample().In({0, 3}).In({0, 3}).In({3}).Outputs(3)));
}

}  // namespace graphrun
