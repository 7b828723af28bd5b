// Adam, Adagrad, Momentum (function bodies) and Gradient of ai.onnx.preview.training.
//
// Source: https://onnx.ai/onnx/operators (ai.onnx.preview.training 1); Kingma and Ba (2015),
// arXiv:1412.6980; Duchi, Hazan and Singer, JMLR 12 (2011). Inputs: the learning rate R, the step
// count T, then for n tensors X..., G..., and the states (V..., H... for Adam; H... for Adagrad;
// V... for Momentum). Outputs: the new X..., then the new states.
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.onnx.preview.training";

// `states`: state tensors for each X.
absl::Status InferUpdate(InferContext& c, int states) {
  const int each = 2 + states, given = c.num_inputs() - 2;
  if (given <= 0 || given % each != 0) {
    return c.Error("has ", given, " inputs behind R and T, but needs ", each,
                   " for each tensor that is updated");
  }
  const int n = given / each;
  if (c.num_outputs() > n * (1 + states)) {
    return c.Error("has ", c.num_outputs(), " outputs, but ", n, " tensors give ",
                   n * (1 + states));
  }
  for (int i = 0; i < c.num_outputs(); ++i) {
    c.set_output_type(i, c.input_type(i < n ? 2 + i : 2 + n + i));
  }
  return absl::OkStatus();
}

// The inputs of one tensor.
struct Slot {
  Expr x, g, first, second;
};

// Calls update(slot, rate, t, new values) for every tensor; t is in the tensor's element type.
template <typename F>
void UpdateBody(BodyContext& b, int states, F update) {
  const int n = (b.num_inputs() - 2) / (2 + states);
  std::vector<std::vector<Expr>> made(static_cast<size_t>(1 + states));
  for (int i = 0; i < n; ++i) {
    Slot slot{b.x(2 + i), b.x(2 + n + i), b.x(2 + 2 * n + i),
              states > 1 ? b.x(2 + 3 * n + i) : Expr()};
    Expr rate = Cast(b.x(0), slot.x.dtype()), t = Cast(b.x(1), slot.x.dtype());
    slot.g = slot.g + slot.x * double{b.Float("norm_coefficient", 0)};
    const std::vector<Expr> values = update(slot, rate, t);
    for (size_t k = 0; k < values.size(); ++k) made[k].push_back(values[k]);
  }
  std::vector<Expr> outputs;
  for (const std::vector<Expr>& values : made) {
    outputs.insert(outputs.end(), values.begin(), values.end());
  }
  outputs.resize(static_cast<size_t>(b.num_outputs()));
  b.Return(outputs);
}

OpDef Update(const char* name, int states) {
  return OpDef(name, 1, kDomain)
      .Input("R", "T1")
      .Input("T", "int64")
      .Input("inputs", "T3", Arity::kVariadic)
      .Output("outputs", "T3", Arity::kVariadic)
      .Types("T1", kFloats)
      .Types("T3", kFloats)
      .Attr("norm_coefficient", 0.f)
      .Infer([states](InferContext& c) { return InferUpdate(c, states); });
}

Sample Start(int64_t t) {
  return Sample().In({}, 0.1, 0.2).In(Tensor::Scalar<int64_t>(t)).Variable();
}

// Output i like input i: the derivative by xs[i].
absl::Status InferGradient(InferContext& c) {
  const int xs = static_cast<int>(c.Strings("xs").size());
  const int zs = static_cast<int>(c.Strings("zs").size());
  if (c.num_inputs() != xs + zs || c.num_outputs() > xs) {
    return c.Error("has ", c.num_inputs(), " inputs and ", c.num_outputs(),
                   " outputs, but xs names ", xs, " values and zs ", zs,
                   ": give an input for each name");
  }
  for (int i = 0; i < c.num_outputs(); ++i) c.set_output_type(i, c.input_type(i));
  return absl::OkStatus();
}

}  // namespace

void RegisterUpdateRulesOps(OpRegistry& ops) {
  // V' = alpha V + (1 - alpha) G; H' = beta H + (1 - beta) G^2; X' = X - R' V' / (sqrt(H') + eps),
  // R' = R sqrt(1 - beta^T) / (1 - alpha^T) from T = 1 on; then X' (1 - norm_coefficient_post).
  ops.Add(Update("Adam", 2)
              .Attr("alpha", 0.9f)
              .Attr("beta", 0.999f)
              .Attr("epsilon", 1e-6f)
              .Attr("norm_coefficient_post", 0.f)
              .Body([](BodyContext& b) {
                const double alpha = b.Float("alpha", 0.9f), beta = b.Float("beta", 0.999f);
                UpdateBody(b, 2, [&](const Slot& s, Expr rate, Expr t) -> std::vector<Expr> {
                  Builder& e = b.builder();
                  const DType dtype = s.x.dtype();
                  Expr v = s.first * alpha + s.g * (1 - alpha);
                  Expr h = s.second * beta + s.g * s.g * (1 - beta);
                  Expr corrected = rate * Sqrt(1.0 - Pow(e.Scalar(dtype, beta), t)) /
                                   (1.0 - Pow(e.Scalar(dtype, alpha), t));
                  Expr step = Where(t > 0, corrected, rate);
                  Expr x = s.x - step * v / (Sqrt(h) + double{b.Float("epsilon", 1e-6f)});
                  return {x * (1 - double{b.Float("norm_coefficient_post", 0)}), v, h};
                });
              })
              .Try(Start(0)
                       .In({2, 3})
                       .In({2, 3})
                       .In({2, 3})
                       .In({2, 3}, 0.5, 2)
                       .Outputs(3)
                       .NoGradient("the correction divides by 0 at T = 0"))
              .Try(Start(3)
                       .In({3})
                       .In({2})
                       .In({3})
                       .In({2})
                       .In({3})
                       .In({2})
                       .In({3}, 0.5, 2)
                       .In({2}, 0.5, 2)
                       .Attr("norm_coefficient", 0.1f)
                       .Attr("norm_coefficient_post", 0.01f)
                       .Outputs(6))
              .Try(Start(0).In({3}).In({3}).In({3}).Refused("for each tensor")));
  // r = R / (1 + T decay); H' = H + G^2; X' = X - r G / (sqrt(H') + eps)
  ops.Add(Update("Adagrad", 1)
              .Attr("decay_factor", 0.f)
              .Attr("epsilon", 0.f)
              .Body([](BodyContext& b) {
                UpdateBody(b, 1, [&](const Slot& s, Expr rate, Expr t) -> std::vector<Expr> {
                  Expr r = rate / (t * double{b.Float("decay_factor", 0)} + 1.0);
                  Expr h = s.first + s.g * s.g;
                  return {s.x - r * s.g / (Sqrt(h) + double{b.Float("epsilon", 0)}), h};
                });
              })
              .Try(Start(3)
                       .In({2, 3})
                       .In({2, 3})
                       .In({2, 3}, 0.5, 2)
                       .Attr("decay_factor", 0.1f)
                       .Attr("epsilon", 1e-3f)
                       .Attr("norm_coefficient", 0.1f)
                       .Outputs(2)));
  // V' = alpha V + beta' G, beta' = 1 at T = 0; standard: X - R V'; nesterov: X - R (G + alpha V')
  ops.Add(Update("Momentum", 1)
              .RequiredAttr("alpha", Attr::Kind::kFloat)
              .RequiredAttr("beta", Attr::Kind::kFloat)
              .RequiredAttr("mode", Attr::Kind::kString)
              .Infer([](InferContext& c) {
                const std::string mode = c.String("mode");
                if (mode != "standard" && mode != "nesterov") {
                  return c.Error("mode is \"", mode, "\" but must be standard or nesterov");
                }
                return InferUpdate(c, 1);
              })
              .Body([](BodyContext& b) {
                const double alpha = b.Float("alpha"), beta = b.Float("beta");
                const bool nesterov = b.String("mode") == "nesterov";
                UpdateBody(b, 1, [&](const Slot& s, Expr rate, Expr t) -> std::vector<Expr> {
                  const DType dtype = s.x.dtype();
                  Expr weight =
                      Where(t > 0, b.builder().Scalar(dtype, beta), b.builder().Scalar(dtype, 1));
                  Expr v = s.first * alpha + weight * s.g;
                  return {s.x - rate * (nesterov ? s.g + v * alpha : v), v};
                });
              })
              .Try(Start(0)
                       .In({2, 3})
                       .In({2, 3})
                       .In({2, 3})
                       .Attr("alpha", 0.9f)
                       .Attr("beta", 0.5f)
                       .Attr("mode", "standard")
                       .Outputs(2))
              .Try(Start(2)
                       .In({3})
                       .In({3})
                       .In({3})
                       .Attr("alpha", 0.9f)
                       .Attr("beta", 0.5f)
                       .Attr("norm_coefficient", 0.1f)
                       .Attr("mode", "nesterov")
                       .Outputs(2))
              .Try(Start(0)
                       .In({3})
                       .In({3})
                       .In({3})
                       .Attr("alpha", 0.9f)
                       .Attr("beta", 0.5f)
                       .Attr("mode", "heavy")
                       .Refused("standard or nesterov")));
  // Takes no part in any run: ExpandGradientNodes puts the derivatives' nodes in its place.
  ops.Add(OpDef("Gradient", 1, kDomain)
              .Input("Inputs", "T1", Arity::kVariadic)
              .Output("Outputs", "T2", Arity::kVariadic)
              .Types("T1", kAnyType)
              .Types("T2", kFloats)
              .RequiredAttr("xs", Attr::Kind::kStrings)
              .Attr("zs", Attr::Kind::kStrings)
              .RequiredAttr("y", Attr::Kind::kString)
              .Infer(InferGradient)
              .NotDifferentiable("derivatives are expanded before anything else")
              .Body([](BodyContext& b) {
                b.Refuse(b.Error("a node that asks for derivatives runs only in a whole graph"));
              })
              .Try(Sample()
                       .In({2})
                       .Attr("xs", std::vector<std::string>{"x0"})
                       .Attr("y", "y")
                       .Refused("only in a whole graph"))
              .Try(Sample()
                       .In({2})
                       .Attr("xs", std::vector<std::string>{"x0", "x1"})
                       .Attr("y", "y")
                       .Refused("an input for each name")));
}

}  // namespace graphrun
