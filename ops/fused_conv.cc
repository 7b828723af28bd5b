// ai.graphrun.FusedConv: a convolution with bias, a tensor that is added to the result, and an
// activation, in one kernel; and the rewrites that make it.
//
// x [N, C, spatial...], w and b as Conv has them, z of y's sizes: y = activation(x * w + b + z).
// `output_type`: y's element type, 0 for that of x and w; z has y's, b has one of the two.
#include <cmath>
#include <cstring>

#include "ops/conv_native.h"
#include "ops/conv_onednn.h"
#include "ops/conv_winograd.h"
#include "ops/multiply_adds.h"
#include "ops/post_op.h"
#include "ops/strided_conv.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<ConvShape> ShapeOf(const PrepareContext& c) {
  const Dims x = c.input_dims(0), w = c.input_dims(1);
  const Shape weight = Shape::Of(w);
  GR_ASSIGN_OR_RETURN(Window window, ReadWindow(c, static_cast<int>(x.size()) - 2, &weight));
  return ConvShape::Of(x, w, c.output_dims(0), ResolvePads(c, std::move(window), SpatialDims(x)));
}

absl::StatusOr<std::unique_ptr<Kernel>> Transformed(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s, ShapeOf(c));
  return WinogradConv(c, s, PostOp::Of(c), c.has_input(3) ? 3 : -1);
}

absl::StatusOr<std::unique_ptr<Kernel>> Strided(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s, ShapeOf(c));
  return StridedConv(c, s, PostOp::Of(c), c.has_input(3) ? 3 : -1);
}

absl::StatusOr<std::unique_ptr<Kernel>> Fast(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s, ShapeOf(c));
  dnnl::post_ops activation;
  PostOp::Of(c).AppendTo(activation);
  return OneDnnConv(c, s, &activation, c.has_input(3) ? 3 : -1);
}

absl::StatusOr<std::unique_ptr<Kernel>> Native(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s, ShapeOf(c));
  const PostOp post_op = PostOp::Of(c);
  std::unique_ptr<Kernel> kernel;
  if (c.output_dtype(0) != c.input_dtype(0)) return kernel;
  if (c.has_input(2) && c.input_dtype(2) != c.input_dtype(0)) return kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([s, post_op](RunContext& r) {
      T* y = r.output(0).mutable_data<T>();
      const T* z = r.has_input(3) ? r.input(3).data<T>() : nullptr;
      const int64_t n = r.output(0).num_elements();
      std::vector<T> kept;
      if (z == y) {
        kept.assign(z, z + n);
        z = kept.data();
      }
      ConvForward(s, r.input(0).data<T>(), r.input(1).data<T>(),
                  r.has_input(2) ? r.input(2).data<T>() : nullptr, y);
      ParallelFor(n, 16384, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          double v = static_cast<double>(static_cast<Compute<T>>(y[i]));
          if (z != nullptr) v += static_cast<double>(static_cast<Compute<T>>(z[i]));
          y[i] = T(static_cast<Compute<T>>(post_op.Apply(v)));
        }
      });
      return absl::OkStatus();
    });
  });
  return kernel;
}

void Body(BodyContext& b) {
  const Expr bias = b.has_input(2) ? CastLike(b.x(2), b.x(0)) : Expr();
  Expr y =
      b.Op("Conv", {b.x(0), b.x(1), bias},
           b.AttrsExcept({"activation", "activation_alpha", "activation_beta", "output_type"}));
  const DType to = static_cast<DType>(b.Int("output_type", 0));
  if (to != DType::kUndefined && to != y.dtype()) y = Cast(y, to);
  if (b.has_input(3)) y = y + b.x(3);
  b.Return(PostOp::Of(b).Apply(y));
}

absl::Status Infer(InferContext& c) {
  const Shape &x = c.input_shape(0), &w = c.input_shape(1);
  if (!x.has_rank() || !w.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  if (x.rank() < 3 || x.rank() != w.rank()) {
    return c.Error("inputs X and W need as many axes, at least 3");
  }
  GR_ASSIGN_OR_RETURN(const Window window, ReadWindow(c, x.rank() - 2, &w));
  GR_ASSIGN_OR_RETURN(const std::vector<Dim> out, SlideOver(c, window, SpatialDims(x)));
  Shape y({x[0], w[0]});
  for (const Dim& d : out) y.Append(d);
  if (c.has_input(3) && c.input_shape(3).is_concrete() && y.is_concrete() &&
      !(c.input_shape(3) == y)) {
    return c.Error("input Z has shape ", c.input_shape(3).ToString(), " but must be ",
                   y.ToString());
  }
  const int64_t to = c.Int("output_type", 0);
  const DType made = to == 0 ? c.input_dtype(0) : static_cast<DType>(to);
  if (!IsFloat(made) || (c.has_input(3) && c.input_dtype(3) != made)) {
    return c.Error("output_type is ", to, ", but it must be 0 or a float type, and Z must have it");
  }
  c.set_output(0, made, std::move(y));
  return absl::OkStatus();
}

// ---- rewrites

bool Is(const Node* node, absl::string_view op, absl::string_view domain = "") {
  return node != nullptr && node->op_type() == op && node->domain() == domain;
}

bool IsConv(const Node* node) { return Is(node, "Conv") || Is(node, "FusedConv", kGraphrunDomain); }

bool IsFast(const Value* v) {
  return v->dtype() == DType::kFloat32 || v->dtype() == DType::kBFloat16;
}

// w' = w * f, b' = (b - mean) * f + B with f = scale / sqrt(var + epsilon), per output channel.
absl::StatusOr<bool> FoldBatchNorm(Graph& graph, const OpRegistry& registry) {
  bool changed = false;
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) {
    if (Is(node.get(), "Conv")) nodes.push_back(node.get());
  }
  for (Node* conv : nodes) {
    Node* norm = SoleUser(graph, conv->output(0));
    if (!Is(norm, "BatchNormalization") || norm->opset() < 9 || norm->input(0) != conv->output(0)) {
      continue;
    }
    if (NumberAttr(*norm, "training_mode", 0) != 0 || norm->has_output(1)) continue;
    bool constant =
        conv->input(1)->is_constant() && (!conv->has_input(2) || conv->input(2)->is_constant());
    for (int i = 1; i < 5; ++i) constant = constant && norm->input(i)->is_constant();
    if (!constant || !IsFloat(conv->input(1)->dtype())) continue;
    const Tensor& w = conv->input(1)->initializer();
    const int64_t channels = w.dim(0), each = channels == 0 ? 0 : w.num_elements() / channels;
    const double eps = NumberAttr(*norm, "epsilon", 1e-5f);
    Tensor folded(w.dtype(), w.dims()), bias(w.dtype(), {channels});
    const bool served = DispatchDType(FloatTypes(), w.dtype(), [&]<typename T>() {
      for (int64_t c = 0; c < channels; ++c) {
        const auto at = [&](int i) { return norm->input(i)->initializer().AsDouble(c); };
        const double factor = at(1) / std::sqrt(at(4) + eps);
        for (int64_t i = c * each; i < (c + 1) * each; ++i)
          folded.mutable_data<T>()[i] = T(static_cast<Compute<T>>(w.AsDouble(i) * factor));
        const double b = conv->has_input(2) ? conv->input(2)->initializer().AsDouble(c) : 0;
        bias.mutable_data<T>()[c] = T(static_cast<Compute<T>>((b - at(3)) * factor + at(2)));
      }
    });
    if (!served) continue;
    Value* weights = graph.AddInitializer(conv->input(1)->name() + "/folded", std::move(folded));
    Value* shift = graph.AddInitializer(conv->output(0)->name() + "/shift", std::move(bias));
    graph.SetInput(conv, 1, weights);
    if (conv->num_inputs() > 2) {
      graph.SetInput(conv, 2, shift);
    } else {
      graph.AppendInput(conv, shift);
    }
    graph.ReplaceAllUses(norm->output(0), conv->output(0));
    graph.Erase(norm);
    changed = true;
  }
  return changed;
}

// Conv -> Add (of a tensor of the same sizes) -> activation, each where only the next reads it.
absl::StatusOr<bool> FuseConv(Graph& graph, const OpRegistry& registry) {
  const OpDef* def = registry.Find(kGraphrunDomain, "FusedConv", 0);
  bool changed = false;
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) {
    if (IsConv(node.get()) && IsFast(node->output(0))) nodes.push_back(node.get());
  }
  for (Node* conv : nodes) {
    AttrMap attrs = conv->attrs();
    std::vector<Value*> inputs = {conv->input(0), conv->input(1),
                                  conv->has_input(2) ? conv->input(2) : nullptr,
                                  conv->has_input(3) ? conv->input(3) : nullptr};
    if (attrs.count("activation") > 0) continue;
    std::vector<Node*> taken = {conv};
    Node* next = SoleUser(graph, conv->output(0));
    if (Value* other = OtherAddend(next, conv->output(0));
        inputs[3] == nullptr && other != nullptr) {
      if (other->dtype() == conv->output(0)->dtype() && other->shape().is_concrete() &&
          other->shape() == conv->output(0)->shape() && !other->is_initializer()) {
        inputs[3] = other;
        taken.push_back(next);
        next = SoleUser(graph, next->output(0));
      }
    }
    if (next != nullptr) {
      const auto post_op = PostOp::Match(*next);
      if (post_op && next->input(0) == taken.back()->output(0)) {
        post_op->SetOn(&attrs);
        taken.push_back(next);
      }
    }
    if (taken.size() == 1) continue;
    while (!inputs.empty() && inputs.back() == nullptr) inputs.pop_back();
    Node* last = taken.back();
    Graph::NodeSpec spec;
    spec.op_type = "FusedConv";
    spec.domain = kGraphrunDomain;
    spec.opset = def->since();
    spec.inputs = std::move(inputs);
    spec.outputs = {""};
    spec.attrs = std::move(attrs);
    spec.name = conv->name();
    Node* fused = graph.AddNode(std::move(spec), last);
    GR_RETURN_IF_ERROR(InferNode(*fused, registry, nullptr));
    graph.ReplaceAllUses(last->output(0), fused->output(0));
    for (size_t i = taken.size(); i-- > 0;) graph.Erase(taken[i]);
    changed = true;
  }
  return changed;
}

using Ints = std::vector<int64_t>;

}  // namespace

void RegisterFusedConvOps(OpRegistry& ops) {
  OpDef def("FusedConv", 1, kGraphrunDomain);
  PostOp::Declare(def)
      .Input("X", "T")
      .Input("W", "T")
      .Input("B", "S", Arity::kOptional)
      .Input("Z", "R", Arity::kOptional)
      .Output("Y", "T")
      .Types("T", kFloats)
      .Types("S", kFloats)
      .Types("R", kFloats)
      .Attr("output_type", 0)
      .Attr("auto_pad", "NOTSET")
      .Attr("dilations", Attr::Kind::kInts)
      .Attr("group", 1)
      .Attr("kernel_shape", Attr::Kind::kInts)
      .Attr("pads", Attr::Kind::kInts)
      .Attr("strides", Attr::Kind::kInts)
      .Infer(Infer)
      .MultiplyAdds([](const NodeContext& c) { return ConvMultiplyAdds(c, -1, 1); })
      .InPlace(3, 0)
      .Kernel("winograd", Transformed)
      .Kernel("strided", Strided)
      .Kernel("onednn", Fast)
      .Kernel("native", Native)
      .Body(Body)
      .Try(Sample()
               .In({2, 16, 5, 5})
               .In({16, 16, 3, 3})
               .Constant()
               .In({16})
               .In({2, 16, 5, 5})
               .NoGradient("the kink of Relu")
               .Attr("pads", Ints{1, 1, 1, 1})
               .Attr("activation", "Relu"))
      .Try(Sample()
               .In({2, 16, 7, 6})
               .In({32, 16, 3, 3})
               .Constant()
               .In({32})
               .NoGradient("the kink of Relu")
               .Attr("pads", Ints{1, 1, 1, 0})
               .Attr("strides", Ints{2, 2})
               .Attr("activation", "Relu"))
      .Try(Sample().In({1, 3, 5, 5}).In({16, 3, 3, 3}).In({16}).Attr("activation", "Sigmoid"))
      .Try(Sample().In({2, 16, 4, 4}).In({10, 16, 1, 1}).None().In({2, 10, 4, 4}))
      .Try(Sample()
               .In({2, 32, 5, 5})
               .In({32, 32, 3, 3})
               .Constant()
               .In({32})
               .Attr("activation", "LeakyRelu")
               .Attr("activation_alpha", 0.25f)
               .NoGradient("the kink of LeakyRelu"))
      .Try(Sample()
               .In({2, 32, 9, 9})
               .In({32, 32, 3, 3})
               .Constant()
               .In({32})
               .In({2, 32, 9, 9})
               .Attr("pads", Ints{1, 1, 1, 1})
               .Attr("activation", "Clip")
               .Attr("activation_alpha", 0.0f)
               .Attr("activation_beta", 6.0f)
               .NoGradient("the kinks of Clip"))
      .Try(Sample().In({2, 3, 4, 4}).In({4, 3, 1, 1}).In({4}).In({2, 4, 3, 4}).Refused("input Z"));
  ops.Add(std::move(def));
  ops.AddRewrite({"fold-batch-normalization", Rewrite::Phase::kCanonical, FoldBatchNorm});
  ops.AddRewrite({"fuse-convolution", Rewrite::Phase::kFuse, FuseConv});
}

}  // namespace graphrun
