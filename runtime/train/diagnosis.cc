#include "runtime/train/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/onnx/standard.h"

namespace graphrun {
namespace {

// Beyond these a network of common size learns badly; each is far outside what healthy runs show.
constexpr double kLargeInput = 3, kSmallInput = 0.03;
constexpr double kImbalance = 10;
constexpr double kVanishing = 1e-3;
constexpr double kExploding = 1e3;
constexpr double kDeadShare = 0.4;
constexpr int64_t kDeadRows = 128;

// Whether weights are applied to this input directly.
bool MeetsWeights(const Value& input, const OpRegistry& registry) {
  for (const Use& use : input.uses()) {
    const OpDef* def = registry.Find(*use.node);
    for (int i = 0; def != nullptr && i < use.node->num_inputs(); ++i) {
      if (use.node->has_input(i) && use.node->input(i)->is_initializer() &&
          use.node->input(i)->initializer().rank() >= 2 &&
          def->parameter_role(*use.node, i).kind == ParameterKind::kWeight)
        return true;
    }
  }
  return false;
}

void CheckInput(const RunSetup& s, size_t i, const Tensor& x, std::vector<NamedWarning>* warnings) {
  const Value* input = s.model->FindValue(s.data.inputs[i].input);
  if (!IsFloat(x.dtype()) || x.num_elements() == 0 || input == nullptr ||
      !MeetsWeights(*input, *s.registry))
    return;
  double sum = 0, squares = 0, low = x.AsDouble(0), high = low;
  for (int64_t e = 0; e < x.num_elements(); ++e) {
    const double v = x.AsDouble(e);
    sum += v;
    squares += v * v;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  const double n = static_cast<double>(x.num_elements()), mean = sum / n;
  const double deviation = std::sqrt(std::max(squares / n - mean * mean, 0.0));
  const double size = std::max(std::abs(mean), deviation);
  if (size <= kLargeInput && (size >= kSmallInput || size == 0)) return;
  warnings->emplace_back(
      "unnormalised-input",
      absl::StrFormat("input \"%s\" has values from %.4g to %.4g, mean %.3g, deviation %.3g. Try "
                      "--normalize zscore",
                      s.data.inputs[i].input, low, high, mean, deviation));
}

std::string ClassName(const TrainData& data, size_t c) {
  return c < data.class_names.size() ? data.class_names[c] : absl::StrCat(c);
}

void CheckClasses(const RunSetup& s, std::vector<NamedWarning>* warnings) {
  const std::vector<int64_t>& counts = s.data.histogram;
  const bool balanced = s.recipe.data().sampler() == recipe::Data::BALANCED ||
                        !s.recipe.loss().class_weights().empty();
  if (counts.size() < 2 || balanced || !s.classification()) return;
  const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  if (static_cast<double>(*most) < kImbalance * static_cast<double>(*least)) return;
  warnings->emplace_back(
      "class-imbalance",
      absl::StrCat("class ", ClassName(s.data, static_cast<size_t>(most - counts.begin())), " has ",
                   *most, " samples, class ",
                   ClassName(s.data, static_cast<size_t>(least - counts.begin())), " has ", *least,
                   ". Try --class-weights auto or --sampler balanced"));
}

void CheckLink(const RunSetup& s, std::vector<NamedWarning>* warnings) {
  if (s.loss->link() == OutputLink::kNone || s.model->outputs().empty()) return;
  const Value* y = s.model->outputs()[0];
  const OpDef* last = y->producer() == nullptr ? nullptr : s.registry->Find(*y->producer());
  if (last == nullptr || last->link() == OutputLink::kNone) return;
  // Attached in front of the activation, or told that these are probabilities: as it should be.
  if (s.graphs.prediction != y->name() || !s.graphs.logits) return;
  warnings->emplace_back("softmax-before-ce", absl::StrCat("the model ends in ", last->name(),
                                                           ", but the loss ", s.loss->name(),
                                                           " takes its output for logits. Try "
                                                           "--from-logits auto, or another loss"));
}

// What stock runtimes will not be able to run.
void CheckOperators(const RunSetup& s, std::vector<NamedWarning>* warnings) {
  const OpRegistry& registry = *s.registry;
  for (const Node* node : CustomNodes(*s.model, registry, false)) {
    if (registry.Find(*node)->body()) continue;
    warnings->emplace_back(
        "custom-operator",
        absl::StrCat(node->Describe(), ": its operator has no function body: only what knows ",
                     "domain ", node->domain(), " can run the trained model"));
    return;
  }
}

}  // namespace

std::vector<NamedWarning> DiagnoseStart(const RunSetup& setup,
                                        const std::vector<Tensor>& arguments) {
  std::vector<NamedWarning> warnings;
  for (size_t i = 0; i < setup.data.inputs.size() && i < arguments.size(); ++i)
    CheckInput(setup, i, arguments[i], &warnings);
  CheckClasses(setup, &warnings);
  CheckLink(setup, &warnings);
  CheckOperators(setup, &warnings);
  return warnings;
}

absl::Status GradientWatch::Probe(const std::vector<Tensor>& arguments, int64_t rows,
                                  uint64_t step) {
  Session& probe = *setup_.probe;
  probe.set_step(step);
  GR_RETURN_IF_ERROR(probe.Run(absl::Span<const Tensor>(arguments)));
  const auto& parameters = setup_.graphs.parameters;
  norms_.assign(parameters.size(), 0);
  alive_.resize(parameters.size());
  rows_ += rows;
  double squares = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    norms_[i] = probe.output(static_cast<int>(i) + 1).tensor.AsDouble(0);
    squares += norms_[i] * norms_[i];
    if (parameters[i].units_output < 0) continue;
    const Tensor& units = probe.output(parameters[i].units_output).tensor;
    alive_[i].resize(static_cast<size_t>(units.num_elements()));
    for (int64_t u = 0; u < units.num_elements(); ++u) {
      if (units.AsDouble(u) != 0) alive_[i][static_cast<size_t>(u)] = true;
    }
  }
  norm_ = std::sqrt(squares);
  return absl::OkStatus();
}

void GradientWatch::Store(RunPosition* position) const {
  position->watched_samples = rows_;
  position->alive.clear();
  for (size_t i = 0; i < alive_.size(); ++i) {
    std::string units;
    for (const bool alive : alive_[i]) units += alive ? '1' : '0';
    if (!units.empty()) position->alive.emplace_back(static_cast<int64_t>(i), std::move(units));
  }
}

void GradientWatch::Restore(const RunPosition& position) {
  rows_ = position.watched_samples;
  alive_.assign(setup_.graphs.parameters.size(), {});
  for (const auto& [index, units] : position.alive) {
    if (index < 0 || index >= static_cast<int64_t>(alive_.size())) continue;
    std::vector<bool>& alive = alive_[static_cast<size_t>(index)];
    for (const char unit : units) alive.push_back(unit == '1');
  }
  for (const auto& [name, value] : position.gradients) {
    if (name == "gradient_norm") norm_ = value;
  }
}

std::vector<std::pair<std::string, double>> GradientWatch::ByLayer() const {
  std::vector<std::pair<std::string, double>> layers;
  for (size_t i = 0; i < setup_.graphs.parameters.size() && layers.size() < kMostLayers; ++i) {
    const TrainedParameter& p = setup_.graphs.parameters[i];
    if (p.role.kind != ParameterKind::kWeight) continue;
    const double nothing = std::numeric_limits<double>::quiet_NaN();
    layers.emplace_back(p.name, norms_.empty() ? nothing : norms_[i]);
  }
  return layers;
}

std::vector<NamedWarning> GradientWatch::Warnings() const {
  std::vector<NamedWarning> warnings;
  if (norms_.empty()) return warnings;
  const auto& parameters = setup_.graphs.parameters;
  // Root mean squares, so that layers of different size compare.
  double largest = 0, smallest = std::numeric_limits<double>::infinity();
  size_t of_largest = 0, of_smallest = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].units_output < 0) continue;
    const double count = static_cast<double>(std::max<int64_t>(Product(parameters[i].dims), 1));
    const double rms = norms_[i] / std::sqrt(count);
    if (rms > largest) largest = rms, of_largest = i;
    if (rms < smallest) smallest = rms, of_smallest = i;
  }
  if (largest > 0 && smallest < kVanishing * largest) {
    warnings.emplace_back(
        "vanishing-gradient",
        absl::StrFormat("layer \"%s\": the ratio of its gradient to that of \"%s\" is %.1e. Try "
                        "relu, --init he, batch normalisation or fewer layers",
                        parameters[of_smallest].name, parameters[of_largest].name,
                        smallest / largest));
  }
  if (!(norm_ <= kExploding)) {
    warnings.emplace_back("exploding-gradient",
                          absl::StrFormat("the gradients' norm is %.3g. Try --clip-norm 1, a "
                                          "smaller --lr or --normalize zscore",
                                          std::fabs(norm_)));
  }
  if (rows_ < kDeadRows) return warnings;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto dead = static_cast<double>(std::count(alive_[i].begin(), alive_[i].end(), false));
    const double share = alive_[i].empty() ? 0 : dead / static_cast<double>(alive_[i].size());
    // All of them: what lies behind is dead, or the gradient underflows.
    if (share <= kDeadShare || share == 1) continue;
    warnings.emplace_back(
        "dead-relu", absl::StrFormat("layer \"%s\": %.0f %% of its units had no gradient in %d "
                                     "samples. Try a smaller --lr, --init he or leakyrelu",
                                     parameters[i].name, 100 * share, rows_));
  }
  return warnings;
}

}  // namespace graphrun
