// Quantised networks in the form with DequantizeLinear in front of an operator
// and QuantizeLinear behind it (QDQ): the rewrite that puts the operator on
// bytes in their place.
//
// Conv and Gemm become QLinearConv, MatMul QLinearMatMul, Add QLinearAdd of
// com.microsoft; MaxPool, Reshape, Flatten, Transpose, Squeeze and Unsqueeze
// move in front of the dequantisation where both sides have the same scale and
// zero point. A Relu or Clip in between vanishes where the result's bytes
// cannot say more anyway. Results differ from the unfused form by the rounding
// of float32 only.
#include <cmath>

#include "ops/post_op.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr char kMicrosoft[] = "com.microsoft";

bool Is(const Node* node, absl::string_view op) {
  return node != nullptr && node->op_type() == op && node->domain().empty();
}

bool IsByte(DType dtype) { return dtype == DType::kInt8 || dtype == DType::kUInt8; }

// Bytes, and the numbers that they stand for.
struct Quantized {
  Value* bytes = nullptr;
  Value* scale = nullptr;
  Value* zero = nullptr;  // null: 0
  int64_t axis = 1;

  bool single() const { return scale->initializer().num_elements() == 1; }
  double zero_at(int64_t i) const { return zero == nullptr ? 0 : zero->initializer().AsDouble(i); }
};

// The scale and zero point of a QuantizeLinear or DequantizeLinear with
// constants in float32.
absl::optional<Quantized> Read(const Node& node, Value* bytes) {
  Quantized q;
  q.bytes = bytes;
  q.scale = node.input(1);
  q.zero = node.has_input(2) ? node.input(2) : nullptr;
  q.axis = static_cast<int64_t>(NumberAttr(node, "axis", 1));
  const bool sound = q.scale->is_constant() && q.scale->dtype() == DType::kFloat32 &&
                     (q.zero == nullptr || q.zero->is_constant()) && bytes->type().is_tensor() &&
                     IsByte(bytes->dtype()) && bytes->shape().is_concrete() &&
                     NumberAttr(node, "block_size", 0) == 0;
  if (!sound) return absl::nullopt;
  return q;
}

absl::optional<Quantized> Dequantized(const Value* v) {
  Node* node = v == nullptr ? nullptr : v->producer();
  if (!Is(node, "DequantizeLinear") || v->dtype() != DType::kFloat32) return absl::nullopt;
  return Read(*node, node->input(0));
}

// With one scale for the whole tensor.
absl::optional<Quantized> SingleDequantized(const Value* v) {
  auto q = Dequantized(v);
  if (q && !q->single()) return absl::nullopt;
  return q;
}

// Bytes [m, n] as [n, m].
Tensor TransposedBytes(const Tensor& from) {
  const int64_t m = from.dim(0), n = from.dim(1);
  Tensor to(from.dtype(), {n, m});
  const auto* f = static_cast<const uint8_t*>(from.raw());
  auto* t = static_cast<uint8_t*>(to.mutable_raw());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < m; ++j) t[i * m + j] = f[j * n + i];
  }
  return to;
}

class Fuser {
 public:
  Fuser(Graph& graph, const OpRegistry& registry) : graph_(graph), registry_(registry) {}

  absl::StatusOr<bool> Run() {
    std::vector<Node*> ends;
    for (const auto& node : graph_.nodes()) {
      if (Is(node.get(), "QuantizeLinear")) ends.push_back(node.get());
    }
    for (Node* end : ends) {
      const auto y = Read(*end, end->output(0));
      if (!y || !y->single()) continue;
      GR_RETURN_IF_ERROR(FuseBefore(end, *y));
    }
    return changed_;
  }

 private:
  // Replaces what is in front of the QuantizeLinear `end`, where that can be.
  absl::Status FuseBefore(Node* end, const Quantized& y) {
    Node* node = end->input(0)->producer();
    if (IsBound(node, y) && SoleUser(graph_, node->output(0)) == end) {
      Node* before = node->input(0)->producer();
      if (before != nullptr && SoleUser(graph_, node->input(0)) == node) node = before;
    }
    if (node == nullptr || !node->domain().empty() || node->num_outputs() != 1 ||
        SoleUser(graph_, node->output(0)) == nullptr) {
      return absl::OkStatus();
    }
    if (Is(node, "Conv")) return FuseConv(node, end, y);
    if (Is(node, "Gemm")) return FuseGemm(node, end, y);
    if (Is(node, "MatMul")) return FuseMatMul(node, end, y);
    if (Is(node, "Add")) return FuseAdd(node, end, y);
    for (const char* op :
         {"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Relu"}) {
      if (Is(node, op)) return MoveOntoBytes(node, end, y);
    }
    return absl::OkStatus();
  }

  // A Relu or Clip whose bounds are no tighter than those of y's bytes.
  static bool IsBound(const Node* node, const Quantized& y) {
    const bool is_signed = y.bytes->dtype() == DType::kInt8;
    const double lowest = is_signed ? -128 : 0, highest = is_signed ? 127 : 255;
    const double scale = y.scale->initializer().AsDouble(0), zero = y.zero_at(0);
    if (Is(node, "Relu")) return zero == lowest;
    if (!Is(node, "Clip") || node->num_inputs() == 0) return false;
    const auto bound = [&](int input, double fallback) {
      if (!node->has_input(input)) return fallback;
      const Value* v = node->input(input);
      return v->is_constant() ? v->initializer().AsDouble(0) : std::nan("");
    };
    const double infinity = std::numeric_limits<double>::infinity();
    const double low = bound(1, -infinity), high = bound(2, infinity);
    return low / scale + zero <= lowest + 0.5 && high / scale + zero >= highest - 0.5;
  }

  Value* Constant(const std::string& name, Tensor tensor) {
    return graph_.AddInitializer(graph_.UniqueName(name), std::move(tensor));
  }

  Value* ZeroOf(const Quantized& q, int64_t n = 1) {
    if (q.zero != nullptr) return q.zero;
    return Constant("zero_point", Tensor::Zeros(q.bytes->dtype(), n == 1 ? Dims() : Dims{n}));
  }

  // Inserts a node in front of `end`.
  absl::StatusOr<Value*> Insert(const char* op, const char* domain, std::vector<Value*> inputs,
                                AttrMap attrs, Node* end) {
    Graph::NodeSpec spec;
    spec.op_type = op;
    spec.domain = domain;
    spec.opset = registry_.Find(domain, op, 0)->since();
    spec.inputs = std::move(inputs);
    spec.outputs = {""};
    spec.attrs = std::move(attrs);
    spec.name = end->name();
    Node* node = graph_.AddNode(std::move(spec), end);
    GR_RETURN_IF_ERROR(InferNode(*node, registry_, nullptr));
    return node->output(0);
  }

  void Replace(Node* end, Value* bytes) {
    graph_.ReplaceAllUses(end->output(0), bytes);
    graph_.Erase(end);
    changed_ = true;
  }

  // The bias in units of x's scale times w's, as int32; nothing where it is no
  // constant or too large.
  absl::optional<Tensor> Bias(const Value* bias, const Quantized& x, const Quantized& w,
                              int64_t channels, double factor = 1) {
    if (!bias->is_constant() || !IsFloat(bias->dtype())) return absl::nullopt;
    const Tensor &b = bias->initializer(), &scale = w.scale->initializer();
    if (b.num_elements() != channels && b.num_elements() != 1) return absl::nullopt;
    Tensor q(DType::kInt32, {channels});
    for (int64_t i = 0; i < channels; ++i) {
      const double unit =
          x.scale->initializer().AsDouble(0) * scale.AsDouble(scale.num_elements() == 1 ? 0 : i);
      const double v = std::nearbyint(factor * b.AsDouble(b.num_elements() == 1 ? 0 : i) / unit);
      if (!(std::fabs(v) < 2147483648.0)) return absl::nullopt;
      q.mutable_data<int32_t>()[i] = static_cast<int32_t>(v);
    }
    return q;
  }

  absl::Status FuseConv(Node* conv, Node* end, const Quantized& y) {
    const auto x = SingleDequantized(conv->input(0));
    const auto w = Dequantized(conv->input(1));
    if (!x || !w || !w->bytes->is_constant() || (!w->single() && w->axis != 0)) {
      return absl::OkStatus();
    }
    const int64_t channels = w->bytes->initializer().dim(0);
    std::vector<Value*> inputs = {x->bytes, x->scale,   ZeroOf(*x), w->bytes,
                                  w->scale, ZeroOf(*w), y.scale,    ZeroOf(y)};
    if (conv->has_input(2)) {
      auto bias = Bias(conv->input(2), *x, *w, channels);
      if (!bias) return absl::OkStatus();
      inputs.push_back(Constant("bias", *std::move(bias)));
    }
    GR_ASSIGN_OR_RETURN(Value* const bytes,
                        Insert("QLinearConv", "", std::move(inputs), conv->attrs(), end));
    Replace(end, bytes);
    return absl::OkStatus();
  }

  // The second factor of a product: dequantised, or constants transposed after that.
  absl::optional<Quantized> Weights(const Value* v) {
    const Node* turn = v->producer();
    if (!Is(turn, "Transpose")) return Dequantized(v);
    auto q = Dequantized(turn->input(0));
    const auto perm = turn->attrs().find("perm");
    if (!q || !q->bytes->is_constant() || q->bytes->shape().rank() != 2 ||
        (perm != turn->attrs().end() && !(perm->second == Attr(std::vector<int64_t>{1, 0})))) {
      return absl::nullopt;
    }
    q->bytes = Constant("weights", TransposedBytes(q->bytes->initializer()));
    q->axis = q->axis == 0 || q->axis == -2 ? 1 : 0;
    return q;
  }

  // A product of matrices is a convolution of sequences of length 1.
  absl::Status FuseGemm(Node* gemm, Node* end, const Quantized& y) {
    const auto x = SingleDequantized(gemm->input(0));
    const auto w = x ? Weights(gemm->input(1)) : absl::nullopt;
    const bool transposed = NumberAttr(*gemm, "transB", 0) != 0;
    if (!x || !w || !w->bytes->is_constant() || NumberAttr(*gemm, "transA", 0) != 0 ||
        NumberAttr(*gemm, "alpha", 1) != 1 || x->bytes->shape().rank() != 2 ||
        (!w->single() && w->axis != (transposed ? 0 : 1))) {
      return absl::OkStatus();
    }
    const Tensor& from = w->bytes->initializer();
    const int64_t n = from.dim(transposed ? 0 : 1), k = from.dim(transposed ? 1 : 0);
    const Tensor weights = (transposed ? from : TransposedBytes(from)).Reshaped({n, k, 1});
    absl::optional<Tensor> bias;
    if (gemm->has_input(2)) {
      bias = Bias(gemm->input(2), *x, *w, n, NumberAttr(*gemm, "beta", 1));
      if (!bias) return absl::OkStatus();
    }
    Value* axes = Constant("axes", Tensor::Int64s({2}));
    GR_ASSIGN_OR_RETURN(Value* const long_x, Insert("Unsqueeze", "", {x->bytes, axes}, {}, end));
    std::vector<Value*> inputs = {long_x,   x->scale,   ZeroOf(*x), Constant("weights", weights),
                                  w->scale, ZeroOf(*w), y.scale,    ZeroOf(y)};
    if (bias) inputs.push_back(Constant("bias", *std::move(bias)));
    GR_ASSIGN_OR_RETURN(Value* const product,
                        Insert("QLinearConv", "", std::move(inputs), {}, end));
    GR_ASSIGN_OR_RETURN(Value* const bytes, Insert("Squeeze", "", {product, axes}, {}, end));
    Replace(end, bytes);
    return absl::OkStatus();
  }

  absl::Status FuseMatMul(Node* product, Node* end, const Quantized& y) {
    const auto a = SingleDequantized(product->input(0));
    const auto b = a ? Weights(product->input(1)) : absl::nullopt;
    if (!a || !b) return absl::OkStatus();
    const int rank = b->bytes->shape().rank();
    if (!b->single() && (rank != 2 || (b->axis != 1 && b->axis != -1))) return absl::OkStatus();
    const int64_t columns = b->single() ? 1 : b->scale->initializer().num_elements();
    GR_ASSIGN_OR_RETURN(Value* const bytes,
                        Insert("QLinearMatMul", "",
                               {a->bytes, a->scale, ZeroOf(*a), b->bytes, b->scale,
                                ZeroOf(*b, columns), y.scale, ZeroOf(y)},
                               {}, end));
    Replace(end, bytes);
    return absl::OkStatus();
  }

  absl::Status FuseAdd(Node* add, Node* end, const Quantized& y) {
    const auto a = SingleDequantized(add->input(0)), b = SingleDequantized(add->input(1));
    if (!a || !b || a->bytes->dtype() != b->bytes->dtype() ||
        a->bytes->dtype() != y.bytes->dtype() || !(a->bytes->shape() == b->bytes->shape())) {
      return absl::OkStatus();
    }
    GR_ASSIGN_OR_RETURN(Value* const bytes, Insert("QLinearAdd", kMicrosoft,
                                                   {a->bytes, a->scale, ZeroOf(*a), b->bytes,
                                                    b->scale, ZeroOf(*b), y.scale, ZeroOf(y)},
                                                   {}, end));
    Replace(end, bytes);
    return absl::OkStatus();
  }

  // An operator that keeps or picks elements works on bytes as well, where both
  // sides mean the same.
  absl::Status MoveOntoBytes(Node* node, Node* end, const Quantized& y) {
    const auto x = SingleDequantized(node->input(0));
    if (!x || x->bytes->dtype() != y.bytes->dtype() ||
        x->scale->initializer().AsDouble(0) != y.scale->initializer().AsDouble(0) ||
        x->zero_at(0) != y.zero_at(0)) {
      return absl::OkStatus();
    }
    if (Is(node, "Relu") && !IsBound(node, y)) return absl::OkStatus();
    if (Is(node, "Relu")) {
      Replace(end, x->bytes);
      return absl::OkStatus();
    }
    std::vector<Value*> inputs(node->inputs().begin(), node->inputs().end());
    inputs[0] = x->bytes;
    Graph::NodeSpec spec;
    spec.op_type = node->op_type();
    spec.opset = node->opset();
    spec.inputs = std::move(inputs);
    spec.outputs = {""};
    spec.attrs = node->attrs();
    spec.name = node->name();
    Node* moved = graph_.AddNode(std::move(spec), end);
    GR_RETURN_IF_ERROR(InferNode(*moved, registry_, nullptr));
    Replace(end, moved->output(0));
    return absl::OkStatus();
  }

  Graph& graph_;
  const OpRegistry& registry_;
  bool changed_ = false;
};

}  // namespace

void RegisterQdqFusionOps(OpRegistry& ops) {
  ops.AddRewrite(
      {"quantised-operators", Rewrite::Phase::kCanonical,
       [](Graph& graph, const OpRegistry& registry) { return Fuser(graph, registry).Run(); }});
}

}  // namespace graphrun
