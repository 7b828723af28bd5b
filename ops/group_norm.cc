// GroupNormalization and InstanceNormalization, and their gradient as an operator.
//
// Source: https://onnx.ai/onnx/operators (GroupNormalization 21, InstanceNormalization 22); Wu and
// He (2018), arXiv:1803.08494; Ulyanov et al. (2016), arXiv:1607.08022. GroupNormalization took one
// scale a group in version 18 and takes one a channel since 21. Statistics are computed in f32 or
// better whatever stash_type says. ai.graphrun.GroupNormGrad: num_groups 0 makes each channel a
// group.
#include "ops/norm_rows.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// x is input `x`; the scale and what follows it have `size` elements, C or num_groups.
absl::Status Check(InferContext& c, int x, int last) {
  const Shape& s = c.input_shape(x);
  if (!s.has_rank()) return absl::OkStatus();
  if (s.rank() < 2)
    return c.Error("the input has shape ", s.ToString(), " but must be [N, C, ...]");
  const bool grouped = c.def().FindAttr("num_groups") != nullptr;
  const int64_t groups = c.Int("num_groups");
  const bool by_group = grouped && c.def().domain().empty() && c.def().since() < 21;
  if (grouped && groups < (c.def().domain().empty() ? 1 : 0))
    return c.Error("num_groups is ", groups, " but must be positive");
  if (groups > 0 && s[1].is_number() && s[1].value() % groups != 0) {
    return c.Error("the ", s[1].value(), " channels do not divide into ", groups, " groups");
  }
  const Dim wanted = by_group ? Dim(groups) : s[1];
  for (int i = x + 1; i <= last; ++i) {
    const Shape& v = c.input_shape(i);
    if (!v.has_rank()) continue;
    if (v.rank() != 1 ||
        (v[0].is_number() && wanted.is_number() && v[0].value() != wanted.value())) {
      return c.Error("input ", i, " has shape ", v.ToString(), " but must be [", wanted.ToString(),
                     "], one a ", by_group ? "group" : "channel");
    }
  }
  return absl::OkStatus();
}

absl::Status InferForward(InferContext& c) {
  GR_RETURN_IF_ERROR(Check(c, 0, 2));
  return SameAsInput(c);
}

absl::Status InferBackward(InferContext& c) {
  GR_RETURN_IF_ERROR(Check(c, 1, 2));
  c.set_output_type(0, c.input_type(1));
  c.set_output_type(1, c.input_type(2));
  c.set_output_type(2, c.input_type(2));
  return absl::OkStatus();
}

NormCase CaseOf(PrepareContext& c, int x) {
  const Dims dims = c.input_dims(x);
  const int64_t channels = dims[1];
  const int64_t groups = c.Int("num_groups") == 0 ? channels : c.Int("num_groups");
  NormCase norm;
  norm.chunk = Product(absl::MakeConstSpan(dims).subspan(2));
  norm.channels = channels;
  norm.rows = dims[0] * groups;
  norm.n = groups == 0 ? 0 : channels / groups * norm.chunk;
  norm.epsilon = c.Float("epsilon", 1e-5f);
  return norm;
}

template <typename T, typename S>
std::unique_ptr<Kernel> Forward(PrepareContext& c) {
  const NormCase norm = CaseOf(c, 0);
  return MakeKernel([=](RunContext& r) {
    NormForward<S>(norm, r.input(0).data<T>(), r.input(1).data<T>(), r.input(2).data<T>(),
                   r.output(0).mutable_data<T>(), nullptr);
    return absl::OkStatus();
  });
}

template <typename T, typename S>
std::unique_ptr<Kernel> Backward(PrepareContext& c) {
  const NormCase norm = CaseOf(c, 1);
  c.Scratch(NormScratch(norm));
  return MakeKernel([=](RunContext& r) {
    NormBackward<S>(norm, r.input(0).data<T>(), r.input(1).data<T>(), r.input(2).data<T>(),
                    r.output(0).mutable_data<T>(),
                    r.has_output(1) ? r.output(1).mutable_data<T>() : nullptr,
                    r.has_output(2) ? r.output(2).mutable_data<T>() : nullptr, r.scratch());
    return absl::OkStatus();
  });
}

// The f32 statistics of `fast`, or the oracle's.
KernelFactory GroupKernel(bool fast, bool backward) {
  return [=](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    const DType dtype = c.input_dtype(0);
    if (fast) {
      DispatchDType(TypeList<float, BFloat16>(), dtype, [&]<typename T>() {
        kernel = backward ? Backward<T, float>(c) : Forward<T, float>(c);
      });
    } else {
      DispatchDType(FloatTypes(), dtype, [&]<typename T>() {
        kernel = backward ? Backward<T, NormWide<T>>(c) : Forward<T, NormWide<T>>(c);
      });
    }
    return kernel;
  };
}

// x as [N, groups, -1] normalised, in x's shape again.
struct Hat {
  Expr rows, inverse;
  std::vector<int64_t> row_shape;
  Hat(BodyContext& b, Expr x) {
    row_shape = {0, b.Int("num_groups"), -1};
    if (row_shape[1] == 0 && x.shape().has_rank() && x.shape()[1].is_number())
      row_shape[1] = x.shape()[1].value();
    Expr seen = Reshape(x, row_shape);
    Expr d = seen - ReduceMean(seen, {2}, true);
    inverse = Reciprocal(Sqrt(ReduceMean(d * d, {2}, true) + double{b.Float("epsilon", 1e-5f)}));
    rows = d * inverse;
  }
};

// [C] as [C, 1, ...] behind the batch axis of x.
Expr ByChannel(Expr v, Expr x) {
  std::vector<int64_t> axes;
  for (int a = 2; a < x.shape().rank(); ++a) axes.push_back(a - 1);
  return axes.empty() ? v : Unsqueeze(v, axes);
}

void ForwardBody(BodyContext& b) {
  Expr x = b.x(0);
  if (!x.shape().has_rank()) return b.Refuse(b.Error("the input's rank is unknown"));
  Expr hat = Reshape(Hat(b, x).rows, ShapeOf(x));
  b.Return(hat * ByChannel(b.x(1), x) + ByChannel(b.x(2), x));
}

void BackwardBody(BodyContext& b) {
  Expr dy = b.x(0), x = b.x(1);
  if (!x.shape().has_rank()) return b.Refuse(b.Error("the input's rank is unknown"));
  const Hat hat(b, x);
  Expr g = Reshape(dy * ByChannel(b.x(2), x), hat.row_shape);
  Expr inner = g - ReduceMean(g, {2}, true) - hat.rows * ReduceMean(g * hat.rows, {2}, true);
  std::vector<int64_t> others = {0};
  for (int a = 2; a < x.shape().rank(); ++a) others.push_back(a);
  Expr whole = Reshape(hat.rows, ShapeOf(x));
  b.Return({Reshape(hat.inverse * inner, ShapeOf(x)), ReduceSum(dy * whole, others, false),
            ReduceSum(dy, others, false)});
}

void EmitGradient(GradContext& g, int64_t groups) {
  const int outputs = g.needs(2) ? 3 : g.needs(1) ? 2 : 1;
  const std::vector<Expr> d = g.builder().Ops(
      "GroupNormGrad", {g.dy(), g.x(0), g.x(1)}, outputs,
      {{"num_groups", groups}, {"epsilon", g.Float("epsilon", 1e-5f)}}, kGraphrunDomain);
  for (int i = 0; i < outputs; ++i) g.dx(i, d[static_cast<size_t>(i)]);
}

OpDef Group(int since) {
  return OpDef("GroupNormalization", since)
      .Input("X", "T")
      .Input("scale", "T")
      .Input("bias", "T")
      .Output("Y", "T")
      .Parameter(1, ParameterKind::kNormalization)
      .Parameter(2, ParameterKind::kNormalization)
      .Types("T", kFloats)
      .Attr("epsilon", 1e-5f)
      .RequiredAttr("num_groups", Attr::Kind::kInt)
      .Infer(InferForward);
}

OpDef Instance(int since) {
  OpDef def("InstanceNormalization", since);
  def.Parameter(1, ParameterKind::kNormalization).Parameter(2, ParameterKind::kNormalization);
  def.Input("input", "T")
      .Input("scale", "T")
      .Input("B", "T")
      .Output("output", "T")
      .Types("T", kFloats)
      .Attr("epsilon", 1e-5f)
      .Infer(InferForward);
  if (since < 6) def.Attr("consumed_inputs", Attr::Kind::kInts);
  return def.Versions(since < 6 ? std::vector<int>{1} : std::vector<int>{6, 22})
      .InPlace(0, 0)
      .Kernel("fast", GroupKernel(true, false))
      .Kernel("native", GroupKernel(false, false))
      .Body(ForwardBody)
      // See GroupNormGrad with each channel as a group; reads x and scale
      .Gradient([](GradContext& g) { EmitGradient(g, 0); })
      .Try(Sample().In({2, 3, 4, 5}).In({3}).In({3}))
      .Try(Sample().In({2, 3, 40}).In({3}).In({3}).Attr("epsilon", 0.01f))
      .Try(Sample().In({2, 3, 4}).In({2}).In({3}).Refused("one a channel"));
}

}  // namespace

void RegisterGroupNormOps(OpRegistry& ops) {
  ops.Add(Group(21)
              .Attr("stash_type", 1)
              .InPlace(0, 0)
              .Kernel("fast", GroupKernel(true, false))
              .Kernel("native", GroupKernel(false, false))
              .Body(ForwardBody)
              // See GroupNormGrad; reads x and scale
              .Gradient([](GradContext& g) { EmitGradient(g, g.Int("num_groups")); })
              .Try(Sample().In({2, 4, 3, 3}).In({4}).In({4}).Attr("num_groups", 2))
              .Try(Sample().In({2, 4, 20}).In({4}).In({4}).Attr("num_groups", 1))
              .Try(Sample().In({2, 4}).In({4}).In({4}).Attr("num_groups", 2))
              .Try(Sample()
                       .In({2, 4, 3})
                       .In({4})
                       .In({4})
                       .Attr("num_groups", 3)
                       .Refused("do not divide")));
  // One scale a group: each is repeated for the group's channels.
  ops.Add(
      Group(18)
          .Body([](BodyContext& b) {
            Expr x = b.x(0);
            const int64_t groups = b.Int("num_groups");
            Expr each = DimOf(x, 1) / b.builder().Ints({groups});
            Expr sizes = ConcatAll({b.builder().Ints({groups}), each}, 0);
            const auto spread = [&](Expr v) {
              return Reshape(Expand(Unsqueeze(v, {1}), sizes), {-1});
            };
            b.Return(b.Op("GroupNormalization", {x, spread(b.x(1)), spread(b.x(2))},
                          {{"num_groups", groups}, {"epsilon", b.Float("epsilon", 1e-5f)}}));
          })
          .Try(Sample().In({2, 4, 3, 3}).In({2}).In({2}).Attr("num_groups", 2))
          .Try(
              Sample().In({2, 4, 3}).In({4}).In({4}).Attr("num_groups", 2).Refused("one a group")));
  ops.Add(Instance(6));
  ops.Add(Instance(1));
  // As LayerNormGrad over [N, groups, C / groups * D] with a scale for each channel.
  ops.Add(
      OpDef("GroupNormGrad", 1, kGraphrunDomain)
          .Input("dY", "T")
          .Input("X", "T")
          .Input("scale", "T")
          .Output("dX", "T")
          .Output("dscale", "T", Arity::kOptional)
          .Output("dbias", "T", Arity::kOptional)
          .Types("T", kFloats)
          .Attr("num_groups", 0)
          .Attr("epsilon", 1e-5f)
          .Infer(InferBackward)
          .InPlace(0, 0)
          .InPlace(1, 0)
          .Kernel("fast", GroupKernel(true, true))
          .Kernel("native", GroupKernel(false, true))
          .Body(BackwardBody)
          .Try(Sample().In({2, 4, 3, 3}).In({2, 4, 3, 3}).In({4}).Attr("num_groups", 2).Outputs(3))
          .Try(Sample().In({2, 4, 20}).In({2, 4, 20}).In({4}).Outputs(2))
          .Try(Sample().In({2, 4}).In({2, 4}).In({4}).Attr("num_groups", 1).Outputs(3)));
}

}  // namespace graphrun
