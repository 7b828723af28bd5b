#include "runtime/train/update_builder.h"

#include <algorithm>
#include <regex>

#include "runtime/autodiff/gradients.h"

namespace graphrun {
namespace {

absl::StatusOr<std::regex> Compile(const std::string& pattern) {
  try {
    return std::regex(pattern);
  } catch (const std::regex_error& e) {
    return UsageError("\"", pattern, "\" is no regular expression: ", e.what());
  }
}

// Which of the candidates are trained, by the regular expressions of the recipe.
absl::StatusOr<std::vector<Value*>> Selected(const Graph& graph, const TrainingOptions& options) {
  const auto matches_any = [](const std::vector<std::regex>& patterns, const std::string& name) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const std::regex& p) { return std::regex_search(name, p); });
  };
  std::vector<std::regex> freeze, train;
  for (const auto* list : {&options.freeze, &options.train}) {
    for (const std::string& pattern : *list) {
      GR_ASSIGN_OR_RETURN(std::regex compiled, Compile(pattern));
      bool any = false;
      for (const StateUpdate& s : graph.states())
        any |= std::regex_search(s.state->name(), compiled);
      if (!any) return UsageError("\"", pattern, "\" matches no parameter of the model");
      (list == &options.freeze ? freeze : train).push_back(std::move(compiled));
    }
  }
  std::vector<Value*> selected;
  for (const StateUpdate& s : graph.states()) {
    if (s.next != nullptr) continue;  // a statistic
    const std::string& name = s.state->name();
    if (matches_any(freeze, name) || (!train.empty() && !matches_any(train, name))) continue;
    selected.push_back(s.state);
  }
  return selected;
}

// Whether the node that applies a parameter applies it to floating-point values, not to indices.
bool IsAppliedToNumbers(const Value* v) {
  if (v->uses().empty()) return false;
  const Node& node = *v->uses()[0].node;
  return std::any_of(node.inputs().begin(), node.inputs().end(), [](const Value* in) {
    return in != nullptr && !in->is_initializer() && in->type().is_tensor() && IsFloat(in->dtype());
  });
}

ParameterRole RoleOf(const Value* v, const OpRegistry& registry) {
  for (const Use& use : v->uses()) {
    const OpDef* def = registry.Find(*use.node);
    // A gradient node reads parameters too; the model's own use stands first.
    if (def != nullptr) return def->parameter_role(*use.node, use.index);
  }
  return {};
}

}  // namespace

UpdateBuilder::UpdateBuilder(TrainingForm& form, const OpRegistry& registry,
                             const TrainingOptions& options)
    : form_(form),
      graph_(form.graph()),
      registry_(registry),
      options_(options),
      b_(&graph_, &registry, nullptr, "update/") {}

absl::Status UpdateBuilder::Gradients(std::vector<TrainedParameter>* parameters) {
  GR_ASSIGN_OR_RETURN(std::vector<Value*> candidates, Selected(graph_, options_));
  std::vector<ParameterRole> roles;
  std::vector<bool> on_numbers;
  for (const Value* v : candidates) {
    roles.push_back(RoleOf(v, registry_));
    on_numbers.push_back(IsAppliedToNumbers(v));
  }
  GR_ASSIGN_OR_RETURN(std::vector<Value*> gradients,
                      AppendGradients(graph_, registry_, form_.loss(), candidates));
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (gradients[i] == nullptr) continue;
    parameters_.push_back(candidates[i]);
    gradients_.push_back(b_.Use(gradients[i]));
    roles_.push_back(roles[i]);
    on_numbers_.push_back(on_numbers[i]);
    if (parameters != nullptr) {
      parameters->push_back({candidates[i]->name(), candidates[i]->initializer().dims(), roles[i]});
    }
  }
  if (parameters_.empty()) {
    return ModelError("no parameter of the model reaches the loss: there is nothing to train",
                      options_.freeze.empty() && options_.train.empty()
                          ? ". Are its weights constants of nodes? graphrun optimize MODEL -o NEW "
                            "makes initializers of them, which are trained"
                          : ". Look at --freeze and --train");
  }
  // What is neither trained nor a statistic is a constant from here on.
  std::vector<Value*> constants;
  for (const StateUpdate& s : graph_.states()) {
    const bool trained =
        std::find(parameters_.begin(), parameters_.end(), s.state) != parameters_.end();
    if (!trained && s.next == nullptr) constants.push_back(s.state);
  }
  for (Value* v : constants) graph_.ClearState(v);
  return b_.status();
}

void UpdateBuilder::Accumulate() {
  Expr samples = State(kSamplesState, Tensor::Scalar(0.0f)), rows = Rows();
  graph_.SetNext(samples.value(), (samples + rows).value());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Expr sum = State(AccumulatorName(i),
                     Tensor::Zeros(parameters_[i]->dtype(), parameters_[i]->initializer().dims()));
    graph_.SetNext(sum.value(), (sum + gradients_[i] * CastLike(rows, sum)).value());
  }
}

void UpdateBuilder::Show(std::vector<Value*>* outputs) {
  for (const Expr& g : gradients_) outputs->push_back(b_.Op("Identity", {g}).value());
  for (const StateUpdate& s : graph_.states()) graph_.SetNext(s.state, nullptr);
}

void UpdateBuilder::Probe(std::vector<TrainedParameter>* parameters, std::vector<Value*>* outputs) {
  for (const Expr& g : gradients_)
    outputs->push_back(Sqrt(ReduceSum(Square(g), {}, false)).value());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const int rank = parameters_[i]->initializer().rank();
    if (roles_[i].kind != ParameterKind::kWeight || rank < 2 || !on_numbers_[i]) continue;
    const int unit = roles_[i].unit_axis < 0 ? roles_[i].unit_axis + rank : roles_[i].unit_axis;
    std::vector<int64_t> axes;
    for (int a = 0; a < rank; ++a) {
      if (a != unit) axes.push_back(a);
    }
    (*parameters)[i].units_output = static_cast<int>(outputs->size());
    outputs->push_back(ReduceMax(Abs(gradients_[i]), axes, false).value());
  }
  for (const StateUpdate& s : graph_.states()) graph_.SetNext(s.state, nullptr);
}

absl::Status UpdateBuilder::Update(std::vector<Value*>* outputs) {
  if (options_.accumulate) TakeAccumulated();
  GR_RETURN_IF_ERROR(AddPenalties());
  Clip();
  Expr step = State(kStepState, Tensor::Scalar(0.0));
  Expr scale = State(kScaleState, Tensor::Scalar(1.0));
  graph_.SetNext(step.value(), (step + 1.0).value());
  ScheduleInputs schedule{step, options_.lr, options_.steps_per_epoch, options_.total_steps, scale};
  Expr lr = options_.schedule->Emit(schedule);
  Expr count = step + 1.0;
  for (size_t i = 0; i < parameters_.size(); ++i) GR_RETURN_IF_ERROR(UpdateOne(i, lr, count));
  outputs->push_back(lr.value());
  return b_.status();
}

Expr UpdateBuilder::State(const std::string& name, Tensor initial) {
  Value* v = graph_.AddInitializer(name, std::move(initial));
  graph_.AddState(v, nullptr);
  return b_.Use(v);
}

std::string UpdateBuilder::AccumulatorName(size_t i) const {
  return absl::StrCat(parameters_[i]->name(), "/gradient_sum");
}

Expr UpdateBuilder::Rows() {
  return Cast(Squeeze(DimOf(b_.Use(form_.target()), 0), {0}), DType::kFloat32);
}

void UpdateBuilder::TakeAccumulated() {
  Expr samples = State(kSamplesState, Tensor::Scalar(0.0f)), rows = Rows();
  Expr total = samples + rows;
  graph_.SetNext(samples.value(), ZerosLike(samples).value());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Expr sum = State(AccumulatorName(i),
                     Tensor::Zeros(parameters_[i]->dtype(), parameters_[i]->initializer().dims()));
    gradients_[i] = (sum + gradients_[i] * CastLike(rows, sum)) / CastLike(total, sum);
    graph_.SetNext(sum.value(), ZerosLike(sum).value());
  }
}

absl::StatusOr<bool> UpdateBuilder::Applies(const TrainingOptions::RegularizerUse& use,
                                            size_t i) const {
  if (use.parameters.empty()) return roles_[i].kind == ParameterKind::kWeight;
  GR_ASSIGN_OR_RETURN(const std::regex pattern, Compile(use.parameters));
  return std::regex_search(parameters_[i]->name(), pattern);
}

absl::Status UpdateBuilder::CheckSame(const char* part, const std::string& name,
                                      const std::string& what, Expr made, const Value* old) const {
  if (!b_.status().ok()) return Annotate(b_.status(), absl::StrCat(part, " ", name));
  if (made.is_defined() && made.dtype() == old->dtype() && made.shape() == old->shape())
    return absl::OkStatus();
  const std::string got = made.is_defined() ? made.value()->type().ToString() : "nothing";
  return UsageError(part, " ", name, ", parameter \"", old->name(), "\": ", what, " is ", got,
                    " but must be ", old->type().ToString());
}

absl::Status UpdateBuilder::AddPenalties() {
  for (const auto& use : options_.regularizers) {
    bool any = false;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      GR_ASSIGN_OR_RETURN(const bool applies, Applies(use, i));
      if (!applies) continue;
      any = true;
      Expr term = use.regularizer->Gradient(b_.Use(parameters_[i]), roles_[i]);
      if (!term.is_defined()) continue;
      GR_RETURN_IF_ERROR(
          CheckSame("regularizer", use.regularizer->name(), "its gradient", term, parameters_[i]));
      gradients_[i] = gradients_[i] + term;
    }
    if (!any) {
      return UsageError("regularizer ", use.regularizer->name(), " applies to no parameter: \"",
                        use.parameters, "\" matches none");
    }
  }
  return absl::OkStatus();
}

void UpdateBuilder::Clip() {
  if (options_.clip_value > 0) {
    for (Expr& g : gradients_) g = Max(Min(g, options_.clip_value), -options_.clip_value);
  }
  if (options_.clip_norm <= 0) return;
  Expr squares;
  for (const Expr& g : gradients_) {
    Expr part = ReduceSum(Square(g), {}, false);
    squares = squares.is_defined() ? squares + part : part;
  }
  Expr factor = Min(options_.clip_norm / (Sqrt(squares) + 1e-6), 1.0);
  for (Expr& g : gradients_) g = g * factor;
}

absl::Status UpdateBuilder::UpdateOne(size_t i, Expr lr, Expr count) {
  Value* w = parameters_[i];
  UpdateInputs in;
  in.parameter = b_.Use(w);
  in.gradient = gradients_[i];
  in.lr = CastLike(lr, in.parameter);
  in.step = count;
  for (const Optimizer::Slot& slot : options_.optimizer->slots()) {
    Tensor initial = Tensor::Zeros(w->dtype(), slot.scalar ? Dims() : w->initializer().dims());
    if (slot.initial != 0)
      DispatchDType(FloatTypes(), w->dtype(), [&]<typename T>() {
        std::fill_n(initial.mutable_data<T>(), initial.num_elements(), T(slot.initial));
      });
    in.slots.push_back(State(absl::StrCat(w->name(), "/", slot.name), std::move(initial)));
  }
  UpdateOutputs out = options_.optimizer->Emit(in);
  const std::string optimizer = options_.optimizer->name();
  if (b_.status().ok() && out.slots.size() != in.slots.size()) {
    return InternalError("optimizer ", optimizer, " has ", in.slots.size(), " slots but updates ",
                         out.slots.size());
  }
  GR_RETURN_IF_ERROR(CheckSame("optimizer", optimizer, "the new parameter", out.parameter, w));
  for (size_t s = 0; s < in.slots.size(); ++s) {
    GR_RETURN_IF_ERROR(CheckSame("optimizer", optimizer, options_.optimizer->slots()[s].name,
                                 out.slots[s], in.slots[s].value()));
  }
  for (const auto& use : options_.regularizers) {
    GR_ASSIGN_OR_RETURN(const bool applies, Applies(use, i));
    if (applies)
      out.parameter = use.regularizer->AfterUpdate(out.parameter, in.parameter, in.lr, roles_[i]);
    GR_RETURN_IF_ERROR(
        CheckSame("regularizer", use.regularizer->name(), "the new parameter", out.parameter, w));
  }
  graph_.SetNext(w, out.parameter.value());
  for (size_t s = 0; s < in.slots.size(); ++s)
    graph_.SetNext(in.slots[s].value(), out.slots[s].value());
  if (options_.ema > 0) {
    Expr average = State(absl::StrCat(kEmaPrefix, w->name()), w->initializer());
    graph_.SetNext(average.value(),
                   (options_.ema * average + (1 - options_.ema) * out.parameter).value());
  }
  return absl::OkStatus();
}

}  // namespace graphrun
