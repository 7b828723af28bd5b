#include "runtime/train/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/autodiff/gradients.h"
#include "runtime/base/rng.h"
#include "runtime/base/status.h"
#include "runtime/exec/session.h"
#include "runtime/op/expr.h"
#include "runtime/passes/pass.h"
#include "runtime/train/inference_form.h"

namespace graphrun {
namespace {

bool Narrow(DType d) { return IsFloat(d) && d != DType::kFloat64; }

Tensor Widen(const Tensor& t) {
  if (!Narrow(t.dtype())) return t;
  Tensor wide(DType::kFloat64, t.dims());
  for (int64_t i = 0; i < t.num_elements(); ++i) wide.mutable_data<double>()[i] = t.AsDouble(i);
  return wide;
}

Type Widen(const Type& type) {
  Type wide = type;
  if (Narrow(wide.tensor.dtype)) wide.tensor.dtype = DType::kFloat64;
  if (type.element != nullptr) wide.element = std::make_shared<Type>(Widen(*type.element));
  return wide;
}

void ToFloat64(Graph* graph);

// Attributes that name an element type are called `to` and `dtype` wherever they occur.
Attr Widen(const std::string& name, const Attr& attr) {
  if (const Tensor* t = attr.get<Tensor>()) return Attr(Widen(*t));
  if (const Type* t = attr.get<Type>()) return Attr(Widen(*t));
  if (const int64_t* i = attr.get<int64_t>(); i != nullptr && (name == "to" || name == "dtype")) {
    if (IsValidDType(static_cast<int32_t>(*i)) && Narrow(static_cast<DType>(*i))) {
      return Attr(static_cast<int64_t>(DType::kFloat64));
    }
  }
  const auto convert = [](const Attr::GraphPtr& g) {
    std::shared_ptr<Graph> copy = g->Clone();
    ToFloat64(copy.get());
    return Attr::GraphPtr(copy);
  };
  if (const auto* g = attr.get<Attr::GraphPtr>()) return Attr(convert(*g));
  if (const auto* list = attr.get<std::vector<Attr::GraphPtr>>()) {
    std::vector<Attr::GraphPtr> graphs;
    for (const Attr::GraphPtr& g : *list) graphs.push_back(convert(g));
    return Attr(std::move(graphs));
  }
  return attr;
}

// Every narrower float becomes float64; types of inner values are forgotten.
void ToFloat64(Graph* graph) {
  for (Value* v : graph->initializers()) {
    if (!Narrow(v->dtype())) continue;
    Tensor wide = Widen(v->initializer());
    v->set_type(Type::Tensor(DType::kFloat64, v->shape()));
    graph->SetInitializer(v, std::move(wide));
  }
  for (Value* v : graph->inputs()) v->set_type(Widen(v->type()));
  for (const auto& node : graph->nodes()) {
    for (Value* v : node->outputs())
      if (v != nullptr) v->set_type(Type());
    const AttrMap attrs = node->attrs();
    for (const auto& [name, attr] : attrs) node->set_attr(name, Widen(name, attr));
  }
}

class Checker {
 public:
  Checker(const OpRegistry& registry, const GradientCheckOptions& options)
      : registry_(registry), options_(options) {}

  absl::Status Build(const Graph& model, const std::vector<Datum>& inputs);
  absl::StatusOr<std::vector<GradientCheckRow>> Check();

 private:
  // The loss with one tensor replaced.
  absl::StatusOr<double> LossWith(size_t target, const Tensor& value);
  absl::Status Put(size_t target, const Tensor& value);
  absl::Status MoveInputsToStates(const std::vector<Datum>& inputs);

  const OpRegistry& registry_;
  GradientCheckOptions options_;
  std::shared_ptr<Graph> graph_;
  std::unique_ptr<Session> session_;
  std::vector<Datum> inputs_;
  std::vector<std::string> names_;
  std::vector<Tensor> values_;
  std::vector<int> gradient_outputs_;  // -1: no influence
};

// Turns inputs with values into initializers, so that all that is checked is a state.
absl::Status Checker::MoveInputsToStates(const std::vector<Datum>& inputs) {
  const std::vector<Value*> all = graph_->inputs();
  for (size_t i = 0; i < all.size(); ++i) {
    Value* v = all[i];
    if (i < inputs.size() && inputs[i].is_tensor()) {
      v->set_type(Type::Tensor(inputs[i].tensor.dtype(), Shape::Of(inputs[i].tensor.dims())));
    }
    if (!v->type().is_tensor() || !IsFloat(v->dtype())) {
      if (v->is_initializer()) graph_->HideInput(v);
      continue;
    }
    if (i < inputs.size() && inputs[i].is_tensor()) graph_->SetInitializer(v, inputs[i].tensor);
    if (v->is_initializer()) graph_->HideInput(v);
    if (options_.inputs) names_.push_back(v->name());
  }
  if (!options_.inputs) {
    for (const Value* v : graph_->initializers()) {
      const bool was_input =
          std::find_if(all.begin(), all.end(), [&](const Value* a) { return a == v; }) != all.end();
      if (!was_input && IsFloat(v->dtype()) && v->initializer().rank() >= 1 && !v->uses().empty()) {
        names_.push_back(v->name());
      }
    }
  }
  for (const std::string& name : names_) {
    Value* v = graph_->FindValue(name);
    if (!v->is_initializer()) return UsageError("input \"", name, "\" has no value");
    graph_->AddState(v, nullptr);
  }
  // What the graph still reads.
  for (const Value* v : graph_->inputs()) {
    const auto at = std::find(all.begin(), all.end(), v) - all.begin();
    inputs_.push_back(static_cast<size_t>(at) < inputs.size() ? inputs[static_cast<size_t>(at)]
                                                              : Datum());
  }
  return absl::OkStatus();
}

absl::Status Checker::Build(const Graph& model, const std::vector<Datum>& inputs) {
  graph_ = model.Clone();
  GR_RETURN_IF_ERROR(InlineFunctions(*graph_, registry_).status());
  GR_RETURN_IF_ERROR(ToInferenceForm(*graph_, registry_));
  GR_RETURN_IF_ERROR(MoveInputsToStates(inputs));
  if (names_.empty()) {
    return UsageError("the model has no float ", options_.inputs ? "input" : "weight", " to check");
  }
  GR_RETURN_IF_ERROR(Specialize(*graph_, registry_).status());
  ToFloat64(graph_.get());
  GR_RETURN_IF_ERROR(Specialize(*graph_, registry_).status());

  Builder builder(graph_.get(), &registry_, nullptr, "check/");
  Rng rng(Mix(options_.seed, 1));
  Expr loss;
  for (Value* y : graph_->outputs()) {
    if (!y->type().is_tensor() || !IsFloat(y->dtype())) continue;
    const Expr out = builder.Use(y);
    Expr term;
    if (y->shape().is_concrete()) {
      Tensor weights(DType::kFloat64, y->shape().ToDims());
      for (int64_t i = 0; i < weights.num_elements(); ++i)
        weights.mutable_data<double>()[i] = rng.Normal();
      term = ReduceSum(out * builder.Constant(std::move(weights)), {}, false);
    } else {
      term = ReduceSum(out + 0.5 * Square(out), {}, false);
    }
    loss = loss.is_defined() ? loss + term : term;
  }
  if (!loss.is_defined()) return ModelError("the model has no float output");
  GR_RETURN_IF_ERROR(builder.status());
  std::vector<Value*> targets;
  for (const std::string& name : names_) {
    targets.push_back(graph_->FindValue(name));
    values_.push_back(targets.back()->initializer());
  }
  GR_RETURN_IF_ERROR(graph_->Sort());
  GR_ASSIGN_OR_RETURN(const std::vector<Value*> gradients,
                      AppendGradients(*graph_, registry_, loss.value(), targets));
  while (!graph_->outputs().empty()) graph_->RemoveOutput(0);
  graph_->AddOutput(loss.value());
  for (Value* g : gradients) {
    gradient_outputs_.push_back(g == nullptr ? -1 : static_cast<int>(graph_->outputs().size()));
    if (g != nullptr) graph_->AddOutput(g);
  }
  GR_RETURN_IF_ERROR(graph_->Sort());
  GR_ASSIGN_OR_RETURN(session_, Session::Create(graph_, &registry_));
  return absl::OkStatus();
}

absl::Status Checker::Put(size_t target, const Tensor& value) {
  return session_->states().Write(names_[target], value);
}

absl::StatusOr<double> Checker::LossWith(size_t target, const Tensor& value) {
  GR_RETURN_IF_ERROR(Put(target, value));
  GR_RETURN_IF_ERROR(session_->Run(absl::Span<const Datum>(inputs_)));
  return session_->output(0).tensor.AsDouble(0);
}

absl::StatusOr<std::vector<GradientCheckRow>> Checker::Check() {
  GR_RETURN_IF_ERROR(session_->Run(absl::Span<const Datum>(inputs_)));
  const double loss = session_->output(0).tensor.AsDouble(0);
  std::vector<Tensor> gradients(names_.size());
  for (size_t t = 0; t < names_.size(); ++t) {
    if (gradient_outputs_[t] >= 0)
      gradients[t] = session_->output(gradient_outputs_[t]).tensor.Clone();
  }
  std::vector<GradientCheckRow> rows;
  for (size_t t = 0; t < names_.size(); ++t) {
    GradientCheckRow row{names_[t], values_[t].dims()};
    row.reaches = gradient_outputs_[t] >= 0;
    // Without influence the plan does not hold the state.
    if (!row.reaches || session_->states().Find(names_[t]) == nullptr) {
      row.reaches = false;
      rows.push_back(row);
      continue;
    }
    const int64_t n = values_[t].num_elements();
    Rng rng(Mix(options_.seed, HashName(names_[t])));
    for (int d = 0; d < options_.directions; ++d) {
      std::vector<double> direction(static_cast<size_t>(n));
      for (double& x : direction) x = rng.Normal();
      double analytic = 0;
      Tensor up = values_[t].Clone(), down = values_[t].Clone();
      for (int64_t i = 0; i < n; ++i) {
        const double x = direction[static_cast<size_t>(i)];
        analytic += gradients[t].AsDouble(i) * x;
        up.mutable_data<double>()[i] += options_.step * x;
        down.mutable_data<double>()[i] -= options_.step * x;
      }
      GR_ASSIGN_OR_RETURN(const double above, LossWith(t, up));
      GR_ASSIGN_OR_RETURN(const double below, LossWith(t, down));
      const double numeric = (above - below) / (2 * options_.step);
      // Rounding of the loss alone makes the difference quotient err by `noise`; where both numbers
      // are small against it they count as equal.
      const double noise = 16 * std::numeric_limits<double>::epsilon() *
                           std::max(std::fabs(loss), 1.0) / options_.step;
      const double floor = 1e5 * noise;
      const double scale = std::max({std::fabs(analytic), std::fabs(numeric), floor});
      double error = std::fabs(analytic - numeric) / scale;
      if (std::isnan(error)) error = INFINITY;
      if (d == 0 || error > row.error) {
        row.analytic = analytic;
        row.numeric = numeric;
        row.error = error;
      }
    }
    GR_RETURN_IF_ERROR(Put(t, values_[t]));
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<GradientCheckRow>> CheckGradients(const Graph& model,
                                                             const OpRegistry& registry,
                                                             const std::vector<Datum>& inputs,
                                                             const GradientCheckOptions& options) {
  Checker checker(registry, options);
  GR_RETURN_IF_ERROR(checker.Build(model, inputs));
  return checker.Check();
}

}  // namespace graphrun
