#include "ops/recurrent.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"

namespace graphrun {
namespace {

struct Known {
  const char* name;
  Activation::Kind kind;
  bool has_alpha, has_beta;
  float alpha, beta;
};
using Kind = Activation::Kind;
constexpr Known kKnown[] = {{"sigmoid", Kind::kSigmoid, false, false, 0, 0},
                            {"tanh", Kind::kTanh, false, false, 0, 0},
                            {"relu", Kind::kRelu, false, false, 0, 0},
                            {"affine", Kind::kAffine, true, true, 1, 0},
                            {"leakyrelu", Kind::kLeakyRelu, true, false, 0.01f, 0},
                            {"thresholdedrelu", Kind::kThresholdedRelu, true, false, 1, 0},
                            {"scaledtanh", Kind::kScaledTanh, true, true, 1, 1},
                            {"hardsigmoid", Kind::kHardSigmoid, true, true, 0.2f, 0.5f},
                            {"elu", Kind::kElu, true, false, 1, 0},
                            {"softsign", Kind::kSoftsign, false, false, 0, 0},
                            {"softplus", Kind::kSoftplus, false, false, 0, 0}};

// Checks that input i has the given sizes where both are known.
absl::Status CheckInput(InferContext& c, int i, std::vector<Dim> wanted) {
  if (!c.has_input(i)) return absl::OkStatus();
  const Shape& s = c.input_shape(i);
  if (!s.has_rank()) return absl::OkStatus();
  bool fits = s.rank() == static_cast<int>(wanted.size());
  for (int a = 0; fits && a < s.rank(); ++a) {
    const Dim& w = wanted[static_cast<size_t>(a)];
    fits = !w.is_number() || !s[a].is_number() || w.value() == s[a].value();
  }
  if (fits) return absl::OkStatus();
  return c.Error("input ", i, " (", c.def().inputs()[static_cast<size_t>(i)].name, ") has shape ",
                 s.ToString(), " but must be ", Shape(std::move(wanted)).ToString());
}

}  // namespace

int GatesOf(Cell cell) { return cell == Cell::kRnn ? 1 : cell == Cell::kGru ? 3 : 4; }

int DirectionsOf(const NodeContext& c) {
  return c.String("direction", "forward") == "bidirectional" ? 2 : 1;
}

absl::StatusOr<std::vector<Activation>> ActivationsOf(const NodeContext& c, Cell cell) {
  std::vector<std::string> names = c.Strings("activations");
  const std::vector<std::string> usual = cell == Cell::kRnn ? std::vector<std::string>{"Tanh"}
                                         : cell == Cell::kGru
                                             ? std::vector<std::string>{"Sigmoid", "Tanh"}
                                             : std::vector<std::string>{"Sigmoid", "Tanh", "Tanh"};
  const size_t wanted = usual.size() * static_cast<size_t>(DirectionsOf(c));
  while (names.size() < wanted && names.size() % usual.size() == 0) {
    const std::vector<std::string> more = names.empty() ? usual : names;
    names.insert(names.end(), more.begin(), more.end());
  }
  // Exporters write both directions' activations for one direction.
  if (names.size() > wanted) names.resize(wanted);
  if (names.size() != wanted) {
    return c.Error("has ", names.size(), " activations but needs ", wanted, ": ", usual.size(),
                   " a direction");
  }
  const std::vector<float> alphas = c.Floats("activation_alpha");
  const std::vector<float> betas = c.Floats("activation_beta");
  size_t next_alpha = 0, next_beta = 0;
  std::vector<Activation> activations;
  for (size_t i = 0; i < names.size(); ++i) {
    const Known* known = nullptr;
    for (const Known& k : kKnown) {
      if (absl::AsciiStrToLower(names[i]) == k.name) known = &k;
    }
    if (known == nullptr) {
      return c.Error("activation \"", names[i], "\" is not one of ",
                     absl::StrJoin(kKnown, ", ", [](std::string* out, const Known& k) {
                       absl::StrAppend(out, k.name);
                     }));
    }
    Activation a{known->kind, known->alpha, known->beta};
    // A list as long as `activations` is read by position; a shorter one by those that take a
    // value.
    if (alphas.size() == names.size()) {
      if (known->has_alpha) a.alpha = alphas[i];
    } else if (known->has_alpha && next_alpha < alphas.size()) {
      a.alpha = alphas[next_alpha++];
    }
    if (betas.size() == names.size()) {
      if (known->has_beta) a.beta = betas[i];
    } else if (known->has_beta && next_beta < betas.size()) {
      a.beta = betas[next_beta++];
    }
    activations.push_back(a);
  }
  return activations;
}

Expr Apply(const Activation& a, Expr x) {
  Builder& b = *x.builder();
  switch (a.kind) {
    case Kind::kSigmoid:
      return Sigmoid(x);
    case Kind::kTanh:
      return Tanh(x);
    case Kind::kRelu:
      return Relu(x);
    case Kind::kAffine:
      return x * double{a.alpha} + double{a.beta};
    case Kind::kLeakyRelu:
      return b.Op("LeakyRelu", {x}, {{"alpha", a.alpha}});
    case Kind::kThresholdedRelu:
      return Where(x >= double{a.alpha}, x, ZerosLike(x));
    case Kind::kScaledTanh:
      return Tanh(x * double{a.beta}) * double{a.alpha};
    case Kind::kHardSigmoid:
      return b.Op("HardSigmoid", {x}, {{"alpha", a.alpha}, {"beta", a.beta}});
    case Kind::kElu:
      return b.Op("Elu", {x}, {{"alpha", a.alpha}});
    case Kind::kSoftsign:
      return b.Op("Softsign", {x});
    case Kind::kSoftplus:
      return b.Op("Softplus", {x});
  }
  return x;
}

RecurrentCase::RecurrentCase(PrepareContext& c, Cell kind, int x) : cell(kind) {
  const Dims xs = c.input_dims(x), rs = c.input_dims(x + 2);
  steps = xs[0], batch = xs[1], input = xs[2], hidden = rs[2];
  gates = GatesOf(cell);
  directions = DirectionsOf(c);
  first_is_reverse = c.String("direction", "forward") == "reverse";
  auto parsed = ActivationsOf(c, cell);
  if (parsed.ok()) activations = *std::move(parsed);
  clip = c.Float("clip", 0);
  coupled = c.Int("input_forget") != 0;
  linear_before_reset = c.Int("linear_before_reset") != 0;
}

bool IsUsualCell(const Node& node, const OpDef& def, Cell cell) {
  const NodeContext c(node, def);
  if (c.Int("layout") != 0 || c.Float("clip", 0) > 0 || c.Int("input_forget") != 0) return false;
  if (cell == Cell::kRnn || (cell == Cell::kGru && c.Int("linear_before_reset") == 0)) return false;
  if (node.has_input(4) || node.has_input(kInputP)) return false;
  const auto activations = ActivationsOf(c, cell);
  if (!activations.ok()) return false;
  const size_t per = activations->size() / static_cast<size_t>(DirectionsOf(c));
  for (size_t i = 0; i < activations->size(); ++i) {
    const Kind usual = i % per == 0 ? Kind::kSigmoid : Kind::kTanh;
    if ((*activations)[i].kind != usual) return false;
  }
  return true;
}

absl::Status InferRecurrent(InferContext& c, Cell cell) {
  const std::string direction = c.String("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional") {
    return c.Error("direction is \"", direction,
                   "\" but must be forward, reverse or bidirectional");
  }
  GR_RETURN_IF_ERROR(ActivationsOf(c, cell).status());
  const bool batch_first = c.Int("layout") != 0;
  const Dim d(DirectionsOf(c));
  const int64_t gates = GatesOf(cell);
  Dim t, b, i, h;
  const Shape& x = c.input_shape(0);
  if (x.has_rank()) {
    if (x.rank() != 3) return c.Error("input X has shape ", x.ToString(), " but must have 3 axes");
    t = x[batch_first ? 1 : 0], b = x[batch_first ? 0 : 1], i = x[2];
  }
  const Shape& r = c.input_shape(2);
  if (r.has_rank() && r.rank() == 3) h = r[2];
  if (c.has_attr("hidden_size")) {
    const int64_t given = c.Int("hidden_size");
    if (h.is_number() && h.value() != given) {
      return c.Error("hidden_size is ", given, " but input R has shape ", r.ToString());
    }
    h = Dim(given);
  }
  const auto times_h = [&](int64_t n) { return h.is_number() ? Dim(n * h.value()) : Dim(); };
  const std::vector<Dim> state =
      batch_first ? std::vector<Dim>{b, d, h} : std::vector<Dim>{d, b, h};
  GR_RETURN_IF_ERROR(CheckInput(c, 1, {d, times_h(gates), i}));
  GR_RETURN_IF_ERROR(CheckInput(c, 2, {d, times_h(gates), h}));
  GR_RETURN_IF_ERROR(CheckInput(c, 3, {d, times_h(2 * gates)}));
  GR_RETURN_IF_ERROR(CheckInput(c, 4, {b}));
  GR_RETURN_IF_ERROR(CheckInput(c, kInputH, state));
  GR_RETURN_IF_ERROR(CheckInput(c, kInputC, state));
  GR_RETURN_IF_ERROR(CheckInput(c, kInputP, {d, times_h(3)}));
  const DType dtype = c.input_dtype(0);
  c.set_output(0, dtype,
               Shape(batch_first ? std::vector<Dim>{b, t, d, h} : std::vector<Dim>{t, d, b, h}));
  c.set_output(1, dtype, Shape(state));
  c.set_output(2, dtype, Shape(state));
  return absl::OkStatus();
}

}  // namespace graphrun
