// ai.graphrun.ConvMaxPool: a convolution with bias and activation whose result is max-pooled over
// windows of 2 x 2 that step by 2; and the rewrite that makes it where all weights are constant.
//
// x [N, C, H, W], w and b as Conv has them: y [N, O, out / 2, out / 2].
#include "ops/multiply_adds.h"
#include "ops/pooled_conv.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<std::vector<Dim>> Convolved(const NodeContext& c, const Shape& x, const Shape& w) {
  GR_ASSIGN_OR_RETURN(const Window window, ReadWindow(c, 2, &w));
  return SlideOver(c, window, SpatialDims(x));
}

absl::Status Infer(InferContext& c) {
  const Shape &x = c.input_shape(0), &w = c.input_shape(1);
  if (!x.has_rank() || !w.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  if (x.rank() != 4 || w.rank() != 4) return c.Error("inputs X and W need four axes");
  GR_ASSIGN_OR_RETURN(const std::vector<Dim> out, Convolved(c, x, w));
  Shape y({x[0], w[0]});
  for (const Dim& d : out) y.Append(d.is_number() ? Dim(d.value() / 2) : Dim());
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> Pooled(PrepareContext& c) {
  const Dims x = c.input_dims(0), w = c.input_dims(1);
  const Shape weight = Shape::Of(w);
  GR_ASSIGN_OR_RETURN(Window window, ReadWindow(c, 2, &weight));
  GR_ASSIGN_OR_RETURN(const std::vector<Dim> out, Convolved(c, Shape::Of(x), weight));
  const Dims y = {x[0], w[0], out[0].value(), out[1].value()};
  const ConvShape s = ConvShape::Of(x, w, y, ResolvePads(c, std::move(window), SpatialDims(x)));
  return PooledConv(c, s, PostOp::Of(c));
}

void Body(BodyContext& b) {
  const Expr y = b.builder().Op("FusedConv", b.xs(), b.AttrsExcept({}), kGraphrunDomain);
  using Ints = std::vector<int64_t>;
  b.Return(b.Op("MaxPool", {y}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}}));
}

// ---- rewrite

bool IsConv(const Node* node) {
  return (node->op_type() == "Conv" && node->domain().empty()) ||
         (node->op_type() == "FusedConv" && node->domain() == kGraphrunDomain &&
          node->attr("output_type") == nullptr);
}

// A pooling of whole windows, 2 x 2, of which nobody wants the places.
bool PoolsByTwo(const Node& node, const OpRegistry& registry) {
  if (node.op_type() != "MaxPool" || !node.domain().empty() || node.has_output(1)) return false;
  const Value *x = node.input(0), *y = node.output(0);
  if (!x->shape().is_concrete() || x->shape().rank() != 4 || !y->shape().is_concrete())
    return false;
  const NodeContext c(node, *registry.Find(node));
  const auto window = ReadWindow(c, 2, nullptr);
  if (!window.ok()) return false;
  const Window w = ResolvePads(c, *window, SpatialDims(x->shape().ToDims()));
  const Dims ones = {1, 1}, twos = {2, 2}, none = {0, 0};
  const Dims in = x->shape().ToDims(), out = y->shape().ToDims();
  return w.kernel == twos && w.strides == twos && w.dilations == ones && w.pads_begin == none &&
         w.pads_end == none && out[2] == in[2] / 2 && out[3] == in[3] / 2;
}

absl::StatusOr<bool> FuseConvPool(Graph& graph, const OpRegistry& registry) {
  bool changed = false;
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) {
    if (IsConv(node.get())) nodes.push_back(node.get());
  }
  for (Node* conv : nodes) {
    const Value* y = conv->output(0);
    if ((y->dtype() != DType::kFloat32 && y->dtype() != DType::kBFloat16) || conv->has_input(3) ||
        !conv->input(1)->is_constant() || !conv->input(0)->shape().is_concrete()) {
      continue;
    }
    Node* pool = SoleUser(graph, y);
    if (pool == nullptr || !PoolsByTwo(*pool, registry)) continue;
    AttrMap attrs = conv->attrs();
    std::vector<Node*> taken = {conv, pool};
    if (attrs.count("activation") > 0) {
      const OpDef* def = registry.Find(*conv);
      if (!PoolsFirst(PostOp::Of(NodeContext(*conv, *def)))) continue;
    } else if (Node* next = SoleUser(graph, pool->output(0)); next != nullptr) {
      const auto post_op = PostOp::Match(*next);
      if (post_op && PoolsFirst(*post_op) && next->input(0) == pool->output(0)) {
        post_op->SetOn(&attrs);
        taken.push_back(next);
      }
    }
    Graph::NodeSpec spec;
    spec.op_type = "ConvMaxPool";
    spec.domain = kGraphrunDomain;
    spec.opset = registry.Find(kGraphrunDomain, "ConvMaxPool", 0)->since();
    spec.inputs = conv->inputs();
    spec.outputs = {""};
    spec.attrs = std::move(attrs);
    spec.name = conv->name();
    Node* fused = graph.AddNode(std::move(spec), taken.back());
    GR_RETURN_IF_ERROR(InferNode(*fused, registry, nullptr));
    graph.ReplaceAllUses(taken.back()->output(0), fused->output(0));
    for (size_t i = taken.size(); i-- > 0;) graph.Erase(taken[i]);
    changed = true;
  }
  return changed;
}

using Ints = std::vector<int64_t>;

}  // namespace

void RegisterMaxPoolFusionOps(OpRegistry& ops) {
  OpDef def("ConvMaxPool", 1, kGraphrunDomain);
  PostOp::Declare(def)
      .Input("X", "T")
      .Input("W", "T")
      .Input("B", "S", Arity::kOptional)
      .Output("Y", "T")
      .Types("T", kFloats)
      .Types("S", kFloats);
  ops.Add(WithWindow(std::move(def))
              .Attr("group", 1)
              .Infer(Infer)
              .MultiplyAdds([](const NodeContext& c) { return 4 * ConvMultiplyAdds(c, -1, 1); })
              .Kernel("pooled", Pooled)
              .Body(Body)
              .Try(Sample()
                       .In({3, 1, 9, 11})
                       .In({20, 1, 3, 3})
                       .Constant()
                       .In({20})
                       .Attr("activation", "Relu")
                       .Attr("pads", Ints{1, 0, 2, 1})
                       .NoGradient("the kink of Relu"))
              .Try(Sample()
                       .In({1, 16, 6, 8})
                       .In({32, 16, 3, 1})
                       .Constant()
                       .In({32})
                       .NoGradient("ties of MaxPool"))
              .Try(Sample()
                       .In({2, 10, 6, 7})
                       .In({48, 10, 2, 2})
                       .Constant()
                       .NoGradient("ties of MaxPool"))
              .Try(Sample().In({2, 3, 4}).In({4, 3, 1}).Refused("four axes")));
  ops.AddRewrite({"fuse-convolution-and-max-pooling", Rewrite::Phase::kFuse, FuseConvPool});
}

}  // namespace graphrun
