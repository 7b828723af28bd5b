#include "ops/post_op.h"

#include <algorithm>
#include <cmath>

namespace graphrun {
namespace {

float FloatAttr(const Node& node, absl::string_view name, float fallback) {
  return static_cast<float>(NumberAttr(node, name, static_cast<double>(fallback)));
}

absl::optional<float> ScalarConstant(const Node& node, int i) {
  if (!node.has_input(i) || !node.input(i)->is_constant()) return absl::nullopt;
  const Tensor& t = node.input(i)->initializer();
  if (t.num_elements() != 1) return absl::nullopt;
  return static_cast<float>(t.AsDouble(0));
}

}  // namespace

PostOp PostOp::Of(const NodeContext& c) {
  return {c.String("activation"), c.Float("activation_alpha"), c.Float("activation_beta")};
}

absl::optional<PostOp> PostOp::Match(const Node& node) {
  if (!node.domain().empty()) return absl::nullopt;
  const std::string& name = node.op_type();
  if (name == "Relu" || name == "Sigmoid" || name == "Tanh" || name == "HardSwish")
    return PostOp{name, 0, 0};
  if (name == "LeakyRelu") return PostOp{name, FloatAttr(node, "alpha", 0.01f), 0};
  if (name == "Elu") return PostOp{name, FloatAttr(node, "alpha", 1), 0};
  if (name == "Clip" && node.opset() >= 11) {
    const auto low = ScalarConstant(node, 1), high = ScalarConstant(node, 2);
    if (low && high && *low <= *high) return PostOp{name, *low, *high};
  }
  return absl::nullopt;
}

OpDef& PostOp::Declare(OpDef& def) {
  return def.Attr("activation", "").Attr("activation_alpha", 0.0f).Attr("activation_beta", 0.0f);
}

void PostOp::SetOn(AttrMap* attrs) const {
  if (is_none()) return;
  attrs->insert_or_assign("activation", name);
  attrs->insert_or_assign("activation_alpha", alpha);
  attrs->insert_or_assign("activation_beta", beta);
}

double PostOp::Apply(double x) const {
  if (name == "Relu") return x > 0 ? x : 0;
  if (name == "LeakyRelu") return x > 0 ? x : static_cast<double>(alpha) * x;
  if (name == "Elu") return x > 0 ? x : static_cast<double>(alpha) * std::expm1(x);
  if (name == "Sigmoid") return 1 / (1 + std::exp(-x));
  if (name == "Tanh") return std::tanh(x);
  if (name == "HardSwish") return x * std::clamp(x / 6 + 0.5, 0.0, 1.0);
  if (name == "Clip")
    return std::min(std::max(x, static_cast<double>(alpha)), static_cast<double>(beta));
  return x;
}

Expr PostOp::Apply(Expr x) const {
  Builder& b = *x.builder();
  if (is_none()) return x;
  if (name == "Clip") {
    return b.Op("Clip", {x, b.Scalar(x.dtype(), static_cast<double>(alpha)),
                         b.Scalar(x.dtype(), static_cast<double>(beta))});
  }
  if (name == "LeakyRelu" || name == "Elu") return b.Op(name, {x}, {{"alpha", alpha}});
  return b.Op(name, {x});
}

void PostOp::AppendTo(dnnl::post_ops& post_ops) const {
  using dnnl::algorithm;
  if (name == "Relu") onednn::AppendEltwise(post_ops, algorithm::eltwise_relu, 0);
  if (name == "LeakyRelu") onednn::AppendEltwise(post_ops, algorithm::eltwise_relu, alpha);
  if (name == "Elu") onednn::AppendEltwise(post_ops, algorithm::eltwise_elu, alpha);
  if (name == "Sigmoid") onednn::AppendEltwise(post_ops, algorithm::eltwise_logistic);
  if (name == "Tanh") onednn::AppendEltwise(post_ops, algorithm::eltwise_tanh);
  // Version 3 reads alpha and beta, version 2 has them built in.
  if (name == "HardSwish")
    onednn::AppendEltwise(post_ops, algorithm::eltwise_hardswish, 1.0f / 6, 0.5f);
  if (name == "Clip") onednn::AppendEltwise(post_ops, algorithm::eltwise_clip, alpha, beta);
}

double NumberAttr(const Node& node, absl::string_view name, double fallback) {
  const Attr* a = node.attr(name);
  if (a == nullptr) return fallback;
  if (const float* f = a->get<float>()) return static_cast<double>(*f);
  if (const int64_t* i = a->get<int64_t>()) return static_cast<double>(*i);
  return fallback;
}

Value* OtherAddend(const Node* node, const Value* one) {
  if (node == nullptr || !node->domain().empty() || node->num_inputs() != 2 ||
      (node->op_type() != "Add" && node->op_type() != "Sum")) {
    return nullptr;
  }
  Value* other = node->input(node->input(0) == one ? 1 : 0);
  return other == one ? nullptr : other;
}

Node* SoleUser(const Graph& graph, const Value* value) {
  if (value == nullptr || value->uses().size() != 1 || value->num_graph_outputs() > 0)
    return nullptr;
  for (const StateUpdate& state : graph.states()) {
    if (state.next == value) return nullptr;
  }
  return value->uses()[0].node;
}

}  // namespace graphrun
