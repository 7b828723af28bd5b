// The rewrite of GELU as exporters write it, Erf or Tanh with products and sums around it, into
// Gelu: x (1 + erf(x / sqrt 2)) / 2, or x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 in any
// arrangement. It also runs before gradients are appended.
#include <array>
#include <cmath>

#include "ops/post_op.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr double kRootHalf = 0.70710678118654752440;
constexpr double kRootTwoOverPi = 0.79788456080286535588;
constexpr double kCubic = 0.044715;
constexpr double kTolerance = 5e-4;  // relative: constants may have been rounded to float16
constexpr int kDepth = 8;            // operators between x and the result

// A polynomial in x and t, what Erf or Tanh gives: the coefficient of x^i t^j at [i][j].
struct Polynomial {
  static constexpr int kX = 4, kT = 2;
  std::array<std::array<double, kT>, kX> c = {};

  static Polynomial Term(double coefficient, int i, int j) {
    Polynomial p;
    p.c[static_cast<size_t>(i)][static_cast<size_t>(j)] = coefficient;
    return p;
  }
  bool Is(const Polynomial& o) const {
    for (size_t i = 0; i < kX; ++i) {
      for (size_t j = 0; j < kT; ++j) {
        if (std::fabs(c[i][j] - o.c[i][j]) > kTolerance * std::fabs(o.c[i][j])) return false;
      }
    }
    return true;
  }
};
using Result = absl::optional<Polynomial>;

Polynomial Sum(const Polynomial& a, const Polynomial& b, double factor) {
  Polynomial p = a;
  for (size_t i = 0; i < Polynomial::kX; ++i) {
    for (size_t j = 0; j < Polynomial::kT; ++j) p.c[i][j] += factor * b.c[i][j];
  }
  return p;
}

// Nothing where the degree is too high.
Result Product(const Polynomial& a, const Polynomial& b) {
  Polynomial p;
  for (size_t i = 0; i < Polynomial::kX; ++i) {
    for (size_t j = 0; j < Polynomial::kT; ++j) {
      for (size_t k = 0; a.c[i][j] != 0 && k < Polynomial::kX; ++k) {
        for (size_t l = 0; l < Polynomial::kT; ++l) {
          if (b.c[k][l] == 0) continue;
          if (i + k >= Polynomial::kX || j + l >= Polynomial::kT) return absl::nullopt;
          p.c[i + k][j + l] += a.c[i][j] * b.c[k][l];
        }
      }
    }
  }
  return p;
}

// The element of a constant that broadcasts to any tensor of `rank` axes.
absl::optional<double> Number(const Value* v, int rank) {
  if (v == nullptr || !v->is_constant() || !IsFloat(v->dtype()) ||
      v->initializer().num_elements() != 1 || v->initializer().rank() > rank) {
    return absl::nullopt;
  }
  return v->initializer().AsDouble(0);
}

// What v is in x and t; nothing where it is no polynomial in them.
Result Of(const Value* v, const Value* x, const Value* t, int depth = 0) {
  if (v == x) return Polynomial::Term(1, 1, 0);
  if (v == t && t != nullptr) return Polynomial::Term(1, 0, 1);
  const int rank = x->shape().rank();
  if (const auto number = Number(v, rank)) return Polynomial::Term(*number, 0, 0);
  const Node* node = v->producer();
  if (node == nullptr || depth > kDepth || !node->domain().empty() || !node->has_input(0))
    return absl::nullopt;
  const Result a = Of(node->input(0), x, t, depth + 1);
  if (!a) return absl::nullopt;
  const std::string& op = node->op_type();
  if (op == "Identity") return a;
  if (op == "Neg") return Sum(Polynomial(), *a, -1);
  if (!node->has_input(1)) return absl::nullopt;
  if (op == "Pow" || op == "Div") {
    const auto number = Number(node->input(1), rank);
    if (!number) return absl::nullopt;
    if (op == "Div") return *number == 0 ? Result() : Sum(Polynomial(), *a, 1 / *number);
    if (*number != 2 && *number != 3) return absl::nullopt;
    const Result square = Product(*a, *a);
    return *number == 2 || !square ? square : Product(*square, *a);
  }
  if (op != "Add" && op != "Sub" && op != "Mul") return absl::nullopt;
  const Result b = Of(node->input(1), x, t, depth + 1);
  if (!b) return absl::nullopt;
  return op == "Mul" ? Product(*a, *b) : Sum(*a, *b, op == "Add" ? 1 : -1);
}

// The value of which `inner`, what Erf or Tanh is applied to, is the polynomial `wanted`; null:
// there is none.
Value* Variable(Value* inner, const Polynomial& wanted) {
  std::vector<Value*> open = {inner};
  for (size_t i = 0; i < open.size() && open.size() < 24; ++i) {
    Value* x = open[i];
    const Result p = x->shape().has_rank() ? Of(inner, x, nullptr) : Result();
    if (p && p->Is(wanted)) return x;
    const Node* node = x->producer();
    if (node == nullptr) continue;
    for (Value* in : node->inputs()) {
      if (in != nullptr && !in->is_initializer()) open.push_back(in);
    }
  }
  return nullptr;
}

absl::StatusOr<bool> FuseGelu(Graph& graph, const OpRegistry& registry) {
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) {
    if (node->domain().empty() && (node->op_type() == "Erf" || node->op_type() == "Tanh"))
      nodes.push_back(node.get());
  }
  const Polynomial half_cdf =
      Sum(Polynomial::Term(0.5, 1, 0), Polynomial::Term(0.5, 1, 1), 1);  // of x
  bool changed = false;
  for (Node* node : nodes) {
    const bool erf = node->op_type() == "Erf";
    const Polynomial inner = erf ? Polynomial::Term(kRootHalf, 1, 0)
                                 : Sum(Polynomial::Term(kRootTwoOverPi, 1, 0),
                                       Polynomial::Term(kRootTwoOverPi * kCubic, 3, 0), 1);
    if (!IsFloat(node->input(0)->dtype())) continue;
    Value* x = Variable(node->input(0), inner);
    if (x == nullptr || x->dtype() != node->output(0)->dtype()) continue;
    const Value* t = node->output(0);
    const Value* y = t;
    Value* found = nullptr;
    for (int step = 0; step < 4 && found == nullptr; ++step) {
      const Node* next = SoleUser(graph, y);
      if (next == nullptr || next->num_outputs() != 1) break;
      y = next->output(0);
      const Result p = Of(y, x, t);
      if (p && p->Is(half_cdf)) found = next->output(0);
    }
    if (found == nullptr) continue;
    Graph::NodeSpec spec;
    spec.op_type = "Gelu";
    spec.opset = registry.Find("", "Gelu", 0)->since();
    spec.inputs = {x};
    spec.outputs = {""};
    spec.attrs.insert_or_assign("approximate", std::string(erf ? "none" : "tanh"));
    spec.name = found->producer()->name();
    Node* gelu = graph.AddNode(std::move(spec), found->producer());
    GR_RETURN_IF_ERROR(InferNode(*gelu, registry, nullptr));
    graph.ReplaceAllUses(found, gelu->output(0));
    changed = true;
  }
  return changed;
}

}  // namespace

void RegisterGeluFusionOps(OpRegistry& ops) {
  ops.AddRewrite({.name = "pattern-gelu",
                  .phase = Rewrite::Phase::kCanonical,
                  .run = FuseGelu,
                  .recognizes_operator = true});
}

}  // namespace graphrun
