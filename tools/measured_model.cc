#include "tools/measured_model.h"

#include <algorithm>
#include <chrono>

#include "proto/recipe.pb.h"
#include "runtime/base/status.h"
#include "runtime/onnx/import.h"
#include "runtime/op/infer.h"
#include "runtime/passes/pass.h"
#include "runtime/train/recipe.h"
#include "runtime/train/run_setup.h"
#include "runtime/train/training_graph.h"
#include "tools/model_inputs.h"
#include "tools/registry.h"

namespace graphrun::cli {
namespace {

struct TrainingStep {
  std::shared_ptr<const Graph> graph;  // inputs: the model's, then the target
  int64_t classes = 0;                 // bound of class targets; 0: the target is no class
};

// Forward, backward and update of a model as one graph.
absl::StatusOr<TrainingStep> MakeTrainingStep(const Graph& model, const Registries& registries,
                                              const Flags& flags) {
  const OpRegistry& registry = *registries.ops;
  recipe::Recipe recipe;
  GR_RETURN_IF_ERROR(SetRecipeField(&recipe, "optimizer", flags.Get("optimizer", "sgd")));
  GR_RETURN_IF_ERROR(SetRecipeField(&recipe, "loss.name", flags.Get("loss", "auto")));
  const std::unique_ptr<Graph> inferred = model.Clone();
  GR_RETURN_IF_ERROR(InlineFunctions(*inferred, registry).status());
  GR_RETURN_IF_ERROR(InferTypes(*inferred, registry));
  const Shape shape = inferred->outputs().empty() ? Shape() : inferred->outputs()[0]->shape();
  const bool scores =
      shape.has_rank() && shape.rank() >= 2 && shape[1].is_number() && shape[1].value() > 1;
  if (recipe.loss().name() == "auto") {
    recipe.mutable_loss()->set_name(ResolveLoss(*inferred, registry, scores));
  }
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Loss> loss, MakeLoss(recipe.loss(), registries.parts));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Optimizer> optimizer,
                      MakeOptimizer(recipe.optimizer(), registries.parts));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Schedule> schedule, MakeSchedule(recipe.schedule()));
  TrainingOptions options;
  options.loss = loss.get();
  options.optimizer = optimizer.get();
  options.schedule = schedule.get();
  options.lr = 1e-6;  // small enough that no number of steps spoils the numbers
  TrainingStep step;
  if (loss->target() == LossTarget::kClass) {
    options.class_targets = true;
    step.classes = scores ? shape[1].value() : 2;
  }
  GR_ASSIGN_OR_RETURN(TrainingGraph graphs, BuildTrainingGraph(model, registry, options));
  step.graph = graphs.step;
  return step;
}

// Random labels made valid ones.
void BoundClasses(int64_t classes, Datum* target) {
  if (!target->is_tensor() || target->tensor.dtype() != DType::kInt64) return;
  for (int64_t i = 0; i < target->tensor.num_elements(); ++i)
    target->tensor.mutable_data<int64_t>()[i] %= classes;
}

}  // namespace

int64_t MeasuredModel::samples() const {
  for (const Datum& d : inputs)
    if (d.is_tensor() && d.tensor.rank() > 0) return std::max<int64_t>(d.tensor.dim(0), 1);
  return 1;
}

std::vector<FlagSpec> TrainingStepFlags() {
  return {{"train", "", "a training step instead of a run"},
          {"optimizer", "NAME", "with --train (sgd)"},
          {"loss", "NAME", "with --train (auto)"},
          {"recompute", "WHAT",
           "with --train: activations that the gradient makes again instead of keeping them (off, "
           "cheap, all)"}};
}

std::vector<FlagSpec> MeasureFlags() {
  std::vector<FlagSpec> flags = TrainingStepFlags();
  for (const FlagSpec& f : InputFlags()) flags.push_back(f);
  for (const FlagSpec& f : SessionFlags()) flags.push_back(f);
  return flags;
}

absl::StatusOr<MeasuredModel> OpenMeasured(const Flags& flags) {
  MeasuredModel model;
  const std::string& path = flags.argument(0);
  GR_ASSIGN_OR_RETURN(SessionOptions options, ReadSession(flags));
  GR_ASSIGN_OR_RETURN(options.recompute, RecomputeFromName(flags.Get("recompute", "off")));
  GR_ASSIGN_OR_RETURN(Registries registries, MakeRegistries(flags));
  GR_ASSIGN_OR_RETURN(model.graph, ImportOnnx(path));
  int64_t classes = 0;
  if (flags.On("train")) {
    auto step = MakeTrainingStep(*model.graph, registries, flags);
    if (!step.ok()) return Annotate(step.status(), path);
    model.graph = step->graph;
    classes = step->classes;
  }
  model.registry = std::move(registries.ops);
  const auto begin = std::chrono::steady_clock::now();
  GR_ASSIGN_OR_RETURN(model.inputs, ReadInputs(*model.graph, flags, true));
  if (classes > 0) BoundClasses(classes, &model.inputs.back());
  model.input_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  GR_ASSIGN_OR_RETURN(model.session,
                      Session::Create(std::move(model.graph), model.registry.get(), options));
  return model;
}

absl::StatusOr<Profile> ProfileRuns(MeasuredModel& model, int64_t runs, size_t max_events) {
  Profile profile;
  profile.max_events = max_events;
  GR_RETURN_IF_ERROR(model.Run());
  model.session->set_profile(&profile);
  absl::Status status;
  for (int64_t i = 0; i < runs && status.ok(); ++i) status = model.Run();
  model.session->set_profile(nullptr);
  GR_RETURN_IF_ERROR(status);
  return profile;
}

absl::StatusOr<double> PeakMultiplyAdds(const OpRegistry& registry, const SessionOptions& options) {
  constexpr int64_t kSize = 1024;
  auto graph = std::make_shared<Graph>();
  Value* a = graph->AddInput("a", Type::Tensor(DType::kFloat32, Shape::Of({kSize, kSize})));
  GR_ASSIGN_OR_RETURN(Tensor weights, Tensor::Allocate(DType::kFloat32, {kSize, kSize}));
  std::fill_n(weights.mutable_data<float>(), kSize * kSize, 0.5f);
  Graph::NodeSpec spec;
  spec.op_type = "MatMul";
  spec.inputs = {a, graph->AddInitializer("b", weights)};
  spec.outputs = {"y"};
  const Node* product = graph->AddNode(std::move(spec));
  graph->AddOutput(product->output(0));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                      Session::Create(graph, &registry, options));
  const Datum inputs[] = {Datum(weights)};
  using Clock = std::chrono::steady_clock;
  double best = 0;
  for (int i = 0; i < 24; ++i) {
    const auto begin = Clock::now();
    GR_RETURN_IF_ERROR(session->Run(absl::Span<const Datum>(inputs)));
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = std::max(best, static_cast<double>(kSize * kSize * kSize) / seconds);
  }
  return best;
}

}  // namespace graphrun::cli
