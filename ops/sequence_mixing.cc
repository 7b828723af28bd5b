// RotaryEmbedding, CausalConvWithState and FlexAttention: function bodies.
//
// Sources: https://onnx.ai/onnx/operators (RotaryEmbedding 23, CausalConvWithState 27,
// ai.onnx.preview.FlexAttention 1); Su et al. (2021), arXiv:2104.09864. Element types: floats.
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// ---- RotaryEmbedding: pairs (x1, x2) become (cos x1 - sin x2, sin x1 + cos x2).

absl::Status InferRotary(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (x.has_rank() && x.rank() != 3 && x.rank() != 4)
    return c.Error("the input has shape ", x.ToString(), " but must have 3 or 4 axes");
  if (x.has_rank() && x.rank() == 3 && c.Int("num_heads") <= 0)
    return c.Error("num_heads is required where the input has 3 axes");
  const Shape &cos = c.input_shape(1), &sin = c.input_shape(2);
  const int wanted = c.has_input(3) ? 2 : 3;
  if (cos.has_rank() && cos.rank() != wanted) {
    return c.Error("cos_cache has shape ", cos.ToString(), " but must have ", wanted,
                   c.has_input(3) ? " axes with position_ids" : " axes without position_ids");
  }
  if (cos.is_concrete() && sin.is_concrete() && !(cos == sin))
    return c.Error("cos_cache has shape ", cos.ToString(), " but sin_cache ", sin.ToString());
  return SameAsInput(c);
}

void RotaryBody(BodyContext& b) {
  Expr x = b.x(0);
  if (!x.shape().has_rank()) return b.Refuse(b.Error("the input's rank is unknown"));
  const bool packed = x.shape().rank() == 3;
  Expr cos = b.x(1), sin = b.x(2);
  if (b.has_input(3)) {
    cos = Gather(cos, b.x(3), 0);
    sin = Gather(sin, b.x(3), 0);
  }
  // The heads' axis is 2 in [B, S, H, D] and 1 in [B, H, S, D].
  cos = Unsqueeze(cos, {packed ? 2 : 1});
  sin = Unsqueeze(sin, {packed ? 2 : 1});
  if (packed) x = Reshape(x, {0, 0, b.Int("num_heads"), -1});
  const int64_t part = b.Int("rotary_embedding_dim");
  const bool partial = part > 0;
  Expr turned = partial ? Slice(x, {0}, {part}, {3}) : x;
  Expr x1, x2;
  const bool interleaved = b.Int("interleaved") != 0;
  if (interleaved) {
    x1 = Slice(turned, {0}, {INT64_MAX}, {3}, {2});
    x2 = Slice(turned, {1}, {INT64_MAX}, {3}, {2});
  } else {
    const std::vector<Expr> halves =
        b.builder().Ops("Split", {turned}, 2, {{"axis", 3}, {"num_outputs", 2}});
    x1 = halves[0];
    x2 = halves[1];
  }
  Expr real = cos * x1 - sin * x2, imaginary = sin * x1 + cos * x2;
  Expr y;
  if (interleaved) {
    y = ConcatAll({Unsqueeze(real, {4}), Unsqueeze(imaginary, {4})}, 4);
    y = Reshape(y, ShapeOf(turned));
  } else {
    y = ConcatAll({real, imaginary}, 3);
  }
  if (partial) y = ConcatAll({y, Slice(x, {part}, {INT64_MAX}, {3})}, 3);
  b.Return(packed ? Reshape(y, ShapeOf(b.x(0))) : y);
}

// ---- CausalConvWithState: a depthwise convolution over past_state and input.

absl::Status InferCausal(InferContext& c) {
  const std::string activation = c.String("activation", "none");
  if (activation != "none" && activation != "silu" && activation != "swish")
    return c.Error("activation is \"", activation, "\" but must be none, silu or swish");
  const Shape &x = c.input_shape(0), &w = c.input_shape(1);
  if (x.has_rank() && x.rank() != 3)
    return c.Error("the input has shape ", x.ToString(), " but must be [B, C, L]");
  if (w.has_rank() && (w.rank() != 3 || (w[1].is_number() && w[1].value() != 1)))
    return c.Error("the weight has shape ", w.ToString(), " but must be [C, 1, k]");
  if (x.has_rank() && w.has_rank() && x[1].is_number() && w[0].is_number() &&
      x[1].value() != w[0].value()) {
    return c.Error("the input has ", x[1].value(), " channels but the weight ", w[0].value());
  }
  Dim batch, channels, kept;
  if (x.has_rank()) batch = x[0], channels = x[1];
  if (w.has_rank() && w[2].is_number()) {
    if (w[2].value() < 1)
      return c.Error("the weight has shape ", w.ToString(), ": k must be positive");
    kept = Dim(w[2].value() - 1);
  }
  c.set_output_type(0, c.input_type(0));
  c.set_output(1, c.input_dtype(0), Shape(std::vector<Dim>{batch, channels, kept}));
  return absl::OkStatus();
}

void CausalBody(BodyContext& b) {
  Expr x = b.x(0), w = b.x(1);
  const Shape& s = w.shape();
  if (!s.has_rank() || !s[0].is_number() || !s[2].is_number())
    return b.Refuse(b.Error("the sizes of the weight are unknown"));
  const int64_t channels = s[0].value(), k = s[2].value();
  const bool has_past = b.has_input(3);
  Expr whole = has_past ? ConcatAll({b.x(3), x}, 2) : x;
  const std::vector<int64_t> pads = {has_past ? 0 : k - 1, 0};
  Expr y = b.Op("Conv", {whole, w, b.x(2)}, {{"group", channels}, {"pads", pads}});
  if (b.String("activation", "none") != "none") y = y * Sigmoid(y);
  if (!b.has_output(1)) return b.Return(y);
  if (!has_past) whole = b.Op("Pad", {x, b.builder().Ints({0, 0, k - 1, 0, 0, 0})});
  b.Return({y, Slice(whole, {k == 1 ? INT64_MAX : 1 - k}, {INT64_MAX}, {2})});
}

// ---- FlexAttention: attention whose scores and weights pass through graphs of the node.

absl::Status InferFlex(InferContext& c) {
  for (int i = 0; i < 3; ++i) {
    const Shape& s = c.input_shape(i);
    if (s.has_rank() && s.rank() != 4)
      return c.Error("input ", i, " has shape ", s.ToString(), " but must have 4 axes");
  }
  const Shape &q = c.input_shape(0), &k = c.input_shape(1), &v = c.input_shape(2);
  const auto differ = [](const Dim& a, const Dim& b) {
    return a.is_number() && b.is_number() && a.value() != b.value();
  };
  if (q.has_rank() && k.has_rank()) {
    if (differ(q[3], k[3]))
      return c.Error("Q has heads of size ", q[3].value(), " but K ", k[3].value());
    if (q[1].is_number() && k[1].is_number() &&
        (k[1].value() == 0 || q[1].value() % k[1].value() != 0)) {
      return c.Error("the ", q[1].value(), " heads of Q are no multiple of the ", k[1].value(),
                     " heads of K");
    }
  }
  if (k.has_rank() && v.has_rank() && (differ(k[1], v[1]) || differ(k[2], v[2])))
    return c.Error("K has shape ", k.ToString(), " but V ", v.ToString());
  if (!q.has_rank() || !v.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
  } else {
    c.set_output(0, c.input_dtype(0), Shape(std::vector<Dim>{q[0], q[1], q[2], v[3]}));
  }
  return absl::OkStatus();
}

// The graph in attribute `name` on x, inlined; x where there is none.
Expr Through(BodyContext& b, const char* name, Expr x) {
  const Attr::GraphPtr graph = b.GraphAttr(name);
  if (graph == nullptr) return x;
  Builder& e = b.builder();
  std::vector<Value*> arguments = {x.value()};
  const Node& node = b.node();
  for (int i = 0; i < node.num_captures(); ++i)
    arguments.push_back(node.input(node.num_inputs() + i));
  if (graph->inputs().size() != arguments.size() || graph->outputs().size() != 1) {
    b.Refuse(b.Error("the graph ", name, " must have one input and one output"));
    return x;
  }
  Node* before = nullptr;
  for (const auto& n : e.graph()->nodes()) {
    if (n.get() == &node) before = n.get();
  }
  absl::flat_hash_set<const Node*> known;
  for (const auto& n : e.graph()->nodes()) known.insert(n.get());
  const std::vector<Value*> made = e.graph()->Inline(*graph, arguments, {}, before, name);
  for (const auto& n : e.graph()->nodes()) {
    if (known.contains(n.get())) continue;
    if (absl::Status inferred = InferNode(*n, e.registry(), nullptr); !inferred.ok()) {
      b.Refuse(inferred);
      return x;
    }
  }
  return e.Use(made[0]);
}

void FlexBody(BodyContext& b) {
  Expr q = b.x(0), k = b.x(1), v = b.x(2);
  for (const Expr& x : {q, k}) {
    if (!x.shape().has_rank() || !x.shape()[1].is_number() || !x.shape()[3].is_number())
      return b.Refuse(b.Error("the sizes of Q and K are unknown"));
  }
  const int64_t repeat = q.shape()[1].value() / k.shape()[1].value();
  const auto repeated = [&](Expr x) {
    if (repeat == 1) return x;
    Expr times = b.builder().Ints({repeat});
    Expr many = Expand(Unsqueeze(x, {2}),
                       ConcatAll({DimOf(x, 0), DimOf(x, 1), times, DimOf(x, 2), DimOf(x, 3)}, 0));
    return Reshape(many,
                   ConcatAll({DimOf(x, 0), DimOf(x, 1) * times, DimOf(x, 2), DimOf(x, 3)}, 0));
  };
  const double usual =
      1 / std::sqrt(static_cast<double>(std::max<int64_t>(q.shape()[3].value(), 1)));
  const double root = std::sqrt(b.has_attr("scale") ? double{b.Float("scale")} : usual);
  const DType dtype = q.dtype();
  const int64_t usual_type =
      static_cast<int64_t>(dtype == DType::kFloat64 ? dtype : DType::kFloat32);
  const DType precise = static_cast<DType>(b.Int("softmax_precision", usual_type));
  Expr scores = MatMul(q * root, Transpose(repeated(k) * root, {0, 1, 3, 2}));
  scores = Through(b, "score_mod", Cast(scores, precise));
  if (!b.refusal().ok()) return;
  Expr weights = Through(b, "prob_mod", b.Op("Softmax", {scores}, {{"axis", -1}}));
  if (!b.refusal().ok()) return;
  b.Return(Cast(MatMul(weights, Cast(repeated(v), precise)), dtype));
}

// s -> tanh(s)
Attr::GraphPtr TanhGraph() {
  auto graph = std::make_shared<Graph>();
  Graph::NodeSpec spec;
  spec.op_type = "Tanh";
  spec.opset = 13;
  spec.inputs = {graph->AddInput("s", Type())};
  spec.outputs = {"t"};
  graph->AddOutput(graph->AddNode(std::move(spec))->output(0));
  return graph;
}

}  // namespace

void RegisterSequenceMixingOps(OpRegistry& ops) {
  const Tensor positions = Tensor::Of<int64_t>({2, 3}, {0, 1, 2, 4, 3, 0});
  ops.Add(OpDef("RotaryEmbedding", 23)
              .Input("X", "T")
              .Input("cos_cache", "T")
              .Input("sin_cache", "T")
              .Input("position_ids", "int64", Arity::kOptional)
              .Output("Y", "T")
              .Types("T", kFloats)
              .Attr("interleaved", 0)
              .Attr("num_heads", Attr::Kind::kInt)
              .Attr("rotary_embedding_dim", 0)
              .Infer(InferRotary)
              .NoGradientFor({3})
              .Body(RotaryBody)
              .Try(Sample().In({2, 2, 3, 4}).In({5, 2}).In({5, 2}).In(positions))
              .Try(Sample().In({2, 3, 8}).In({2, 3, 2}).In({2, 3, 2}).Attr("num_heads", 2))
              .Try(Sample()
                       .In({2, 2, 3, 6})
                       .In({5, 2})
                       .In({5, 2})
                       .In(positions)
                       .Attr("rotary_embedding_dim", 4)
                       .Attr("interleaved", 1))
              .Try(Sample().In({2, 3, 8}).In({2, 3, 2}).In({2, 3, 2}).Refused("num_heads")));
  ops.Add(
      OpDef("CausalConvWithState", 27)
          .Input("input", "T")
          .Input("weight", "T")
          .Input("bias", "T", Arity::kOptional)
          .Input("past_state", "T", Arity::kOptional)
          .Output("output", "T")
          .Output("present_state", "T", Arity::kOptional)
          .Types("T", kFloats)
          .Attr("activation", "none")
          .Infer(InferCausal)
          .Body(CausalBody)
          .Try(Sample().In({2, 3, 5}).In({3, 1, 4}).Outputs(2))
          .Try(Sample().In({2, 3, 2}).In({3, 1, 4}).In({3}).Outputs(2).Attr("activation", "silu"))
          .Try(Sample().In({2, 3, 5}).In({3, 1, 3}).None().In({2, 3, 2}).Outputs(2))
          .Try(Sample().In({2, 3, 5}).In({3, 1, 1}).Outputs(2))
          .Try(Sample().In({2, 3, 5}).In({4, 1, 1}).Refused("channels")));
  ops.Add(
      OpDef("FlexAttention", 1, "ai.onnx.preview")
          .Input("Q", "T1")
          .Input("K", "T1")
          .Input("V", "T1")
          .Output("Y", "T1")
          .Types("T1", kFloats)
          .Attr("scale", Attr::Kind::kFloat)
          .Attr("softmax_precision", Attr::Kind::kInt)
          .Attr("score_mod", Attr::Kind::kGraph)
          .Attr("prob_mod", Attr::Kind::kGraph)
          .Infer(InferFlex)
          .Body(FlexBody)
          .Try(Sample().In({2, 2, 3, 4}).In({2, 2, 4, 4}).In({2, 2, 4, 5}))
          .Try(Sample().In({2, 4, 3, 4}).In({2, 2, 4, 4}).In({2, 2, 4, 4}).Attr("scale", 0.3f))
          .Try(Sample()
                   .In({2, 2, 3, 4})
                   .In({2, 2, 4, 4})
                   .In({2, 2, 4, 5})
                   .Attr("score_mod", TanhGraph())
                   .Attr("prob_mod", TanhGraph()))
          .Try(Sample().In({2, 3, 3, 4}).In({2, 2, 4, 4}).In({2, 2, 4, 4}).Refused("no multiple")));
}

}  // namespace graphrun
