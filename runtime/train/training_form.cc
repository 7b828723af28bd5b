#include "runtime/train/training_form.h"

#include "runtime/base/rng.h"
#include "runtime/passes/pass.h"

namespace graphrun {
namespace {

bool IsCandidate(const Value* v) {
  return v->is_initializer() && IsFloat(v->dtype()) && v->initializer().rank() >= 1;
}

}  // namespace

absl::Status TrainingForm::Specialized() {
  for (const auto& v : graph_->values()) {
    if (IsCandidate(v.get())) graph_->AddState(v.get(), nullptr);
  }
  // Initializers that the model also lists as inputs are parameters, not inputs to feed.
  for (const StateUpdate& s : graph_->states()) graph_->HideInput(s.state);
  return Specialize(*graph_, registry_).status();
}

absl::Status TrainingForm::ToTraining() {
  std::vector<Node*> nodes;
  for (const auto& node : graph_->nodes()) nodes.push_back(node.get());
  uint64_t place = 0;
  for (Node* node : nodes) {
    ++place;
    const OpDef* def = registry_.Find(*node);
    if (def == nullptr || !def->training()) continue;
    Builder builder(graph_.get(), &registry_, node, absl::StrCat(node->name(), "/"));
    TrainingContext context(
        *node, *def, &builder,
        {Mix(options_.seed, place), options_.freeze_statistics, options_.dropout});
    def->training()(context);
    GR_RETURN_IF_ERROR(builder.status());
    for (const auto& [statistic, next] : context.updates()) {
      if (statistic->is_initializer() && !statistic->is_state())
        graph_->AddState(statistic, nullptr);
      if (statistic->is_state()) statistics_.emplace_back(statistic, next.value());
    }
    Replace(node, context.outputs());
  }
  for (const auto& [statistic, next] : statistics_) graph_->SetNext(statistic, next);
  return graph_->Sort();
}

absl::Status TrainingForm::AttachLoss() {
  if (graph_->outputs().empty()) return ModelError("the model has no output to attach a loss to");
  Value* y = graph_->outputs()[0];
  const Loss& loss = *options_.loss;
  FindLogits(&y);
  const Shape& shape = y->shape();
  if (!y->type().is_tensor() || !IsFloat(y->dtype()) || !shape.has_rank() || shape.rank() < 1) {
    return ModelError("output \"", y->name(), "\" is ", y->type().ToString(),
                      "; a loss needs a float tensor [N, ...]");
  }
  prediction_ = y->name();
  Builder builder(graph_.get(), &registry_, nullptr, "loss/");
  target_ = graph_->AddInput("target", TargetType(*y));
  Expr target = TargetFor(builder.Use(y), builder.Use(target_));
  Expr weights =
      options_.class_weights.is_defined() ? builder.Constant(WeightsAs(y->dtype())) : Expr();
  builder.Name("value");
  loss_ = loss.Emit({builder.Use(y), target, weights}, logits_).value();
  return Annotate(builder.status(), absl::StrCat("loss ", loss.name(), " on output \"", y->name(),
                                                 "\" ", y->type().ToString()));
}

void TrainingForm::Replace(Node* node, const std::vector<Expr>& outputs) {
  if (outputs.empty()) return;
  for (int o = 0; o < node->num_outputs(); ++o) {
    const auto index = static_cast<size_t>(o);
    if (!node->has_output(o) || index >= outputs.size() || !outputs[index].is_defined()) continue;
    graph_->ReplaceAllUses(node->output(o), outputs[index].value());
  }
  graph_->Erase(node);
}

void TrainingForm::FindLogits(Value** y) {
  const Loss& loss = *options_.loss;
  logits_ = false;
  if (loss.link() == OutputLink::kNone) return;
  const Node* last = (*y)->producer();
  const OpDef* def = last == nullptr ? nullptr : registry_.Find(*last);
  const OutputLink link = def == nullptr ? OutputLink::kNone : def->link();
  const bool matches = link == loss.link() ||
                       (loss.link() == OutputLink::kSoftmax && link == OutputLink::kLogSoftmax);
  if (matches && !options_.from_logits.has_value()) {
    *y = last->input(0);
    logits_ = true;
  } else {
    logits_ = options_.from_logits.value_or(true);
  }
}

Type TrainingForm::TargetType(const Value& y) const {
  const Shape& shape = y.shape();
  if (options_.class_targets || options_.loss->target() == LossTarget::kClass) {
    std::vector<Dim> dims = {shape[0]};
    for (int a = 2; a < shape.rank(); ++a) dims.push_back(shape[a]);
    return Type::Tensor(DType::kInt64, Shape(std::move(dims)));
  }
  return Type::Tensor(y.dtype(), shape);
}

Expr TrainingForm::TargetFor(Expr y, Expr target) const {
  if (options_.loss->target() == LossTarget::kClass || !options_.class_targets) return target;
  Builder& b = *y.builder();
  const Shape& shape = y.shape();
  if (shape.rank() < 2) return CastLike(target, y);
  if (shape[1].is_number() && shape[1].value() == 1) return Unsqueeze(CastLike(target, y), {1});
  Tensor levels = Tensor::Zeros(y.dtype(), {2});
  DispatchDType(FloatTypes(), y.dtype(),
                [&]<typename T>() { levels.mutable_data<T>()[1] = T(1.0); });
  return b.Op("OneHot", {target, DimOf(y, 1), b.Constant(levels)}, {{"axis", 1}});
}

Tensor TrainingForm::WeightsAs(DType dtype) const {
  Tensor t = Tensor::Zeros(dtype, options_.class_weights.dims());
  DispatchDType(FloatTypes(), dtype, [&]<typename T>() {
    for (int64_t i = 0; i < t.num_elements(); ++i)
      t.mutable_data<T>()[i] = T(options_.class_weights.AsDouble(i));
  });
  return t;
}

}  // namespace graphrun
