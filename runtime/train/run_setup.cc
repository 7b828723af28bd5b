#include "runtime/train/run_setup.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "runtime/base/text.h"
#include "runtime/data/labels.h"
#include "runtime/onnx/export.h"
#include "runtime/onnx/import.h"
#include "runtime/onnx/standard.h"
#include "runtime/op/infer.h"
#include "runtime/passes/mixed_precision.h"
#include "runtime/passes/pass.h"
#include "runtime/train/head.h"
#include "runtime/train/inference_form.h"
#include "runtime/train/init.h"

namespace graphrun {
namespace {

std::vector<Value*> FedInputs(const Graph& model) {
  std::vector<Value*> inputs;
  for (Value* v : model.inputs()) {
    if (!v->is_initializer()) inputs.push_back(v);
  }
  return inputs;
}

// Outputs for one sample: the size of axis 1, 1 for a vector; 0 where unknown.
int64_t UnitsOf(const Value& output) {
  const Shape& shape = output.shape();
  if (!shape.has_rank()) return 0;
  if (shape.rank() < 2) return 1;
  return shape[1].is_number() ? shape[1].value() : 0;
}

// The types of the model's values, as far as they follow from its inputs, on a copy.
absl::StatusOr<std::unique_ptr<Graph>> Inferred(const Graph& model, const OpRegistry& registry) {
  std::unique_ptr<Graph> copy = model.Clone();
  SpecializeOptions options;
  options.fold = false;
  GR_RETURN_IF_ERROR(Specialize(*copy, registry, options).status());
  return copy;
}

// `classes`: those of the model; 0 where unknown.
absl::StatusOr<Tensor> ClassWeights(const std::string& spec, const TrainData& data,
                                    int64_t classes) {
  if (spec.empty()) return Tensor();
  std::vector<float> weights;
  if (spec == "auto") {
    if (!data.class_target)
      return UsageError("loss.class_weights auto needs class labels as the target");
    const double total = static_cast<double>(data.train->size());
    const auto count = static_cast<size_t>(classes > 0 ? classes : data.classes);
    for (size_t c = 0; c < count; ++c) {
      const int64_t samples = c < data.histogram.size() ? data.histogram[c] : 0;
      const double share =
          static_cast<double>(std::max<int64_t>(samples, 1)) * static_cast<double>(count);
      weights.push_back(static_cast<float>(total / share));
    }
  } else {
    for (absl::string_view part : absl::StrSplit(spec, ',')) {
      float w;
      if (!absl::SimpleAtof(part, &w) || !(w >= 0)) {
        return UsageError("loss.class_weights: \"", part,
                          "\" is no weight. Give \"auto\" or numbers with commas");
      }
      weights.push_back(w);
    }
    if (classes > 0 && weights.size() != static_cast<size_t>(classes)) {
      return UsageError("loss.class_weights has ", weights.size(), " numbers, but the model has ",
                        classes, " classes");
    }
  }
  return Tensor::Of<float>({static_cast<int64_t>(weights.size())}, weights);
}

// Numbers that stand in the recipe itself.
absl::Status CheckNumbers(const recipe::Recipe& r) {
  constexpr double kAny = std::numeric_limits<double>::infinity();
  const struct {
    const char* field;
    double value, high;  // at least 0, and below `high`
  } rows[] = {{"optimizer.clip_norm", r.optimizer().clip_norm(), kAny},
              {"optimizer.clip_value", r.optimizer().clip_value(), kAny},
              {"optimizer.ema", r.optimizer().ema(), 1},
              {"schedule.warmup", static_cast<double>(r.schedule().warmup()), kAny},
              {"schedule.steps", static_cast<double>(r.schedule().steps()), kAny},
              {"loop.max_steps", static_cast<double>(r.loop().max_steps()), kAny},
              {"loop.max_time", r.loop().max_time(), kAny},
              {"loop.patience", static_cast<double>(r.loop().patience()), kAny},
              {"loop.val_every", static_cast<double>(r.loop().val_every()), kAny},
              {"loop.threads", static_cast<double>(r.loop().threads()), kAny},
              {"loop.overfit", static_cast<double>(r.loop().overfit()), kAny},
              {"model.dropout", r.model().dropout(), 1}};
  for (const auto& row : rows) {
    if (row.value >= 0 && row.value < row.high) continue;
    return UsageError(row.field, " is ", row.value, " but must be at least 0",
                      row.high < kAny ? " and below 1" : "");
  }
  for (const std::string& log : r.output().log()) {
    const std::vector<std::string> known = {"csv", "jsonl", "tensorboard"};
    if (std::find(known.begin(), known.end(), log) != known.end()) continue;
    return UsageError("output.log: \"", log, "\" is not one of csv, jsonl, tensorboard.",
                      DidYouMean(log, known));
  }
  return absl::OkStatus();
}

// What the recipe names, made before any file is opened: a mistyped name is known at once.
absl::Status MakeNamedParts(RunSetup* s) {
  const recipe::Recipe& r = s->recipe;
  GR_RETURN_IF_ERROR(CheckNumbers(r));
  if (r.loss().name() != "auto") GR_RETURN_IF_ERROR(MakeLoss(r.loss(), s->parts).status());
  GR_ASSIGN_OR_RETURN(s->optimizer, MakeOptimizer(r.optimizer(), s->parts));
  if (s->schedule == nullptr) {
    GR_ASSIGN_OR_RETURN(s->schedule, MakeSchedule(r.schedule(), s->parts));
  }
  for (const recipe::Regularizer& spec : r.regularizer()) {
    GR_ASSIGN_OR_RETURN(std::unique_ptr<Regularizer> made, MakeRegularizer(spec, s->parts));
    s->regularizers.push_back(std::move(made));
  }
  for (const std::string& name : r.loop().metric())
    GR_RETURN_IF_ERROR(s->parts.NewMetric(name, {}).status());
  return ParseAugmentation(r.data().augment(), 1, s->parts.transforms()).status();
}

// What to say where a target that may have been meant as a class is none.
std::string WhyNoClasses(const TrainData& data) {
  if (data.negative_row < 0) return "";
  return absl::StrCat(". It is no class label since row ", data.negative_row,
                      " is below 0; class labels count from 0");
}

// Targets that are numbers take the shape of the model's first output, which has as many.
absl::Status FitTarget(const Graph& inferred, RunSetup* s) {
  const Loss* loss = s->loss.get();
  if (loss->target() != LossTarget::kValues || s->data.class_target || inferred.outputs().empty())
    return absl::OkStatus();
  const Value& output = *inferred.outputs()[0];
  if (!output.shape().has_rank()) return absl::OkStatus();
  Dims sample;
  for (int axis = 1; axis < output.shape().rank(); ++axis) {
    if (!output.shape()[axis].is_number()) return absl::OkStatus();
    sample.push_back(output.shape()[axis].value());
  }
  const Field& field = s->data.train->fields()[static_cast<size_t>(s->data.target)];
  if (Product(field.dims) == Product(sample)) {
    s->data.target_sample = std::move(sample);
    return absl::OkStatus();
  }
  return DataError("the target of ", s->data.train->name(), ", ", field.name, ", has ",
                   Product(field.dims), " numbers a row, but the model's output ", output.name(),
                   " has ", Product(sample),
                   ". Name as many columns with --target, or take a model with as many outputs; if "
                   "the target is a class, name its column with --target",
                   WhyNoClasses(s->data));
}

absl::Status MakeParts(RunSetup* s) {
  recipe::Recipe& r = s->recipe;
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> inferred, Inferred(*s->model, *s->registry));
  if (r.loss().name() == "auto") {
    r.mutable_loss()->set_name(
        ResolveLoss(*inferred, *s->registry, s->data.class_target ? s->data.classes : 0));
  }
  GR_ASSIGN_OR_RETURN(s->loss, MakeLoss(r.loss(), s->parts));
  if (!r.optimizer().has_lr()) r.mutable_optimizer()->set_lr(s->optimizer->default_lr());
  if (!(r.optimizer().lr() > 0) || !std::isfinite(r.optimizer().lr())) {
    return UsageError("optimizer.lr is ", r.optimizer().lr(), " but must be above 0");
  }
  if (s->loss->target() == LossTarget::kClass && !s->data.class_target) {
    return DataError("the loss ", s->loss->name(),
                     " needs class labels (whole numbers), but the target of ",
                     s->data.train->name(),
                     " holds other numbers. Use mse, mae, huber or bce, or another --target",
                     WhyNoClasses(s->data));
  }
  GR_RETURN_IF_ERROR(FitTarget(*inferred, s));
  s->outputs = inferred->outputs().empty() ? 0 : UnitsOf(*inferred->outputs()[0]);
  const int64_t classes = s->outputs == 1 ? 2 : s->outputs;
  if (s->classification() && classes > 0) {
    for (const auto& dataset : {s->data.train, s->data.validation}) {
      if (dataset == nullptr) continue;
      GR_ASSIGN_OR_RETURN(const std::vector<int64_t> labels, ReadLabels(*dataset, s->data.target));
      const absl::Status status = CheckLabels(*dataset, labels, classes);
      if (!status.ok() && s->outputs == 1)
        return DataError(status.message(), ". For numbers instead of classes use --loss mse");
      GR_RETURN_IF_ERROR(status);
    }
  }
  TrainingOptions& o = s->options;
  o.loss = s->loss.get();
  o.optimizer = s->optimizer.get();
  o.schedule = s->schedule.get();
  for (int i = 0; i < r.regularizer_size(); ++i) {
    o.regularizers.push_back(
        {s->regularizers[static_cast<size_t>(i)].get(), r.regularizer(i).parameters()});
  }
  o.lr = r.optimizer().lr();
  o.clip_norm = r.optimizer().clip_norm();
  o.clip_value = r.optimizer().clip_value();
  o.ema = r.optimizer().ema();
  o.seed = r.loop().seed();
  o.freeze.assign(r.model().freeze().begin(), r.model().freeze().end());
  o.train.assign(r.model().train().begin(), r.model().train().end());
  o.freeze_statistics = r.model().freeze_bn();
  o.dropout = r.model().has_dropout() ? r.model().dropout() : -1;
  if (r.loss().from_logits() != recipe::Loss::AUTO)
    o.from_logits = r.loss().from_logits() == recipe::Loss::YES;
  GR_ASSIGN_OR_RETURN(o.class_weights, ClassWeights(r.loss().class_weights(), s->data, classes));
  o.class_targets = s->data.class_target;
  o.probe = true;
  return absl::OkStatus();
}

absl::Status CountSteps(RunSetup* s) {
  const int64_t accumulate = s->recipe.optimizer().accumulate();
  if (accumulate < 1)
    return UsageError("optimizer.accumulate is ", accumulate, " but must be 1 or more");
  if (s->recipe.loop().epochs() < 1)
    return UsageError("loop.epochs is ", s->recipe.loop().epochs(), " but must be 1 or more");
  s->batches_per_epoch = s->train_loader->batches_per_epoch();
  s->updates_per_epoch = (s->batches_per_epoch + accumulate - 1) / accumulate;
  s->options.accumulate = accumulate > 1;
  s->options.steps_per_epoch = s->updates_per_epoch;
  const auto total = CheckedMul(s->updates_per_epoch, s->recipe.loop().epochs());
  if (!total)
    return UsageError("loop.epochs is ", s->recipe.loop().epochs(), ", more than can be counted");
  s->options.total_steps = *total;
  if (s->recipe.schedule().steps() > 0) s->options.total_steps = s->recipe.schedule().steps();
  return absl::OkStatus();
}

void ChooseMetrics(RunSetup* s) {
  s->metrics.assign(s->recipe.loop().metric().begin(), s->recipe.loop().metric().end());
  if (!s->metrics.empty()) return;
  if (s->classification()) {
    s->metrics = {"accuracy"};
  } else if (s->loss->name() == "bce") {
    s->metrics = {"hamming_loss", "multilabel_f1"};
  } else {
    s->metrics = {"mse", "mae", "r2"};
  }
}

absl::Status MakeSessions(RunSetup* s) {
  SessionOptions options;
  options.threads = s->recipe.loop().threads();
  GR_ASSIGN_OR_RETURN(options.precision, PrecisionFromName(s->recipe.loop().precision()));
  GR_ASSIGN_OR_RETURN(options.recompute, RecomputeFromName(s->recipe.loop().recompute()));
  if (!s->recipe.loop().tune_kernels().empty()) {
    GR_ASSIGN_OR_RETURN(options.tuner, KernelTuner::Open(s->recipe.loop().tune_kernels()));
  }
  GR_ASSIGN_OR_RETURN(s->step, Session::Create(s->graphs.step, s->registry, options));
  if (s->graphs.accumulate != nullptr) {
    GR_ASSIGN_OR_RETURN(s->accumulate,
                        Session::Create(s->graphs.accumulate, s->registry, options, s->states()));
  }
  if (s->graphs.probe != nullptr) {
    GR_ASSIGN_OR_RETURN(s->probe,
                        Session::Create(s->graphs.probe, s->registry, options, s->states()));
  }
  GR_ASSIGN_OR_RETURN(s->evaluate,
                      Session::Create(s->graphs.evaluate, s->registry, options, s->states()));
  std::vector<Type> types;
  s->batch_size = s->recipe.data().batch() == 0
                      ? s->data.train->size()
                      : std::min(s->recipe.data().batch(), s->data.train->size());
  for (const InputBinding& binding : s->data.inputs) {
    const TensorType type = s->train_loader->FieldType(binding.field, s->batch_size);
    types.push_back(Type::Tensor(type.dtype, type.shape));
  }
  const TensorType target = s->train_loader->FieldType(s->data.target, s->batch_size);
  types.push_back(Type::Tensor(target.dtype, target.shape));
  for (Session* session : {s->step.get(), s->accumulate.get(), s->evaluate.get(), s->probe.get()}) {
    if (session == nullptr) continue;
    session->set_seed(s->recipe.loop().seed());
    GR_ASSIGN_OR_RETURN(const auto plan, session->Prepare(types));
    if (session == s->step.get()) s->step_plan = plan;
  }
  return absl::OkStatus();
}

}  // namespace

bool RunSetup::classification() const {
  if (!data.class_target) return false;
  return loss->target() == LossTarget::kClass || loss->link() != OutputLink::kNone || outputs != 1;
}

MetricOptions RunSetup::metric_options() const {
  MetricOptions options;
  const Value* y = model->outputs()[0];
  const OpDef* last = y->producer() == nullptr ? nullptr : registry->Find(*y->producer());
  const bool ends_in_link = last != nullptr && last->link() != OutputLink::kNone;
  options.from_logits = graphs.logits && !ends_in_link;
  return options;
}

std::string ResolveLoss(const Graph& model, const OpRegistry& registry, int64_t classes) {
  const Value* y = model.outputs().empty() ? nullptr : model.outputs()[0];
  const OpDef* last =
      y == nullptr || y->producer() == nullptr ? nullptr : registry.Find(*y->producer());
  const OutputLink link = last == nullptr ? OutputLink::kNone : last->link();
  const bool single = y != nullptr && UnitsOf(*y) == 1;
  if (link == OutputLink::kSigmoid) return "bce";
  if (classes == 0) return "mse";
  if (single) return classes <= 2 ? "bce" : "mse";
  return "ce";
}

absl::StatusOr<std::unique_ptr<RunSetup>> SetUpRun(const recipe::Recipe& recipe,
                                                   const OpRegistry& registry,
                                                   std::unique_ptr<Schedule> schedule,
                                                   const TrainRegistry& parts) {
  auto s = std::make_unique<RunSetup>();
  s->schedule = std::move(schedule);
  s->recipe = recipe;
  s->registry = &registry;
  s->parts = parts;
  GR_RETURN_IF_ERROR(MakeNamedParts(s.get()));
  if (recipe.model().path().empty())
    return UsageError("no model is given. Use graphrun train MODEL.onnx");
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Graph> model, ImportOnnx(recipe.model().path()));
  s->model = std::move(model);
  if (!recipe.model().head().empty()) {
    GR_RETURN_IF_ERROR(
        ReplaceHead(*s->model, registry, recipe.model().head(), recipe.loop().seed()));
  }
  if (recipe.model().init() != recipe::Model::KEEP) {
    GR_RETURN_IF_ERROR(
        InitializeParameters(*s->model, registry, recipe.model().init(), recipe.loop().seed()));
  }
  auto data = OpenTrainData(recipe, FedInputs(*s->model), s->parts);
  if (!data.ok()) return data.status();
  s->data = *std::move(data);
  const std::vector<Value*> inputs = FedInputs(*s->model);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Normalizer& n = s->data.normalizers[i];
    if (n.is_identity()) continue;
    const auto& all = s->model->inputs();
    const int index = static_cast<int>(std::find(all.begin(), all.end(), inputs[i]) - all.begin());
    BakeNormalization(*s->model, registry, index, n.shift, n.scale);
  }
  GR_RETURN_IF_ERROR(Annotate(MakeParts(s.get()), recipe.model().path()));
  GR_ASSIGN_OR_RETURN(s->train_loader, MakeLoader(s->data, s->data.train, recipe, true, s->parts));
  if (s->data.validation != nullptr) {
    GR_ASSIGN_OR_RETURN(s->validation_loader,
                        MakeLoader(s->data, s->data.validation, recipe, false, s->parts));
  }
  GR_RETURN_IF_ERROR(CountSteps(s.get()));
  ChooseMetrics(s.get());
  auto graphs = BuildTrainingGraph(*s->model, registry, s->options);
  if (!graphs.ok()) return Annotate(graphs.status(), recipe.model().path());
  s->graphs = *std::move(graphs);
  GR_RETURN_IF_ERROR(Annotate(MakeSessions(s.get()), recipe.model().path()));
  return s;
}

absl::Status ExportTrained(const RunSetup& setup, const std::string& path) {
  std::unique_ptr<Graph> model = setup.model->Clone();
  const StateStore& states = *setup.states();
  const std::vector<Value*> initializers = model->initializers();
  for (Value* v : initializers) {
    std::string name = v->name();
    if (setup.options.ema > 0 && states.Find(absl::StrCat(kEmaPrefix, name)) != nullptr) {
      name = absl::StrCat(kEmaPrefix, name);
    }
    if (states.Find(name) == nullptr) continue;
    GR_ASSIGN_OR_RETURN(Tensor value, states.Read(name));
    model->SetInitializer(v, std::move(value));
    // A weight that the model lists as an input too is none of the trained model's.
    if (v->is_graph_input()) model->HideInput(v);
  }
  GR_RETURN_IF_ERROR(ToInferenceForm(*model, *setup.registry));
  // By their bodies a plugin's operators run everywhere.
  if (!CustomNodes(*model, *setup.registry, true).empty()) {
    GR_ASSIGN_OR_RETURN(model, ToStandard(*model, *setup.registry));
  }
  model->producer_name = "graphrun";
  ExportOptions options;
  options.registry = setup.registry;
  return Annotate(ExportOnnx(*model, path, options), path);
}

absl::StatusOr<std::vector<std::pair<std::string, double>>> Evaluate(
    const RunSetup& setup, DataLoader& loader, std::vector<std::unique_ptr<Metric>>& metrics,
    const std::atomic<int>* stop) {
  for (const auto& m : metrics) m->Reset();
  GR_RETURN_IF_ERROR(loader.Seek(0, 0));
  double loss = 0;
  int64_t rows = 0;
  std::vector<Tensor> arguments;
  using Values = std::vector<std::pair<std::string, double>>;
  for (bool last = false; !last;) {
    if (stop != nullptr && *stop != 0) return Values();
    GR_ASSIGN_OR_RETURN(const Batch* batch, loader.Next());
    ArrangeBatch(setup.data, *batch, &arguments);
    GR_RETURN_IF_ERROR(setup.evaluate->Run(absl::Span<const Tensor>(arguments)));
    loss += setup.evaluate->output(0).tensor.AsDouble(0) * static_cast<double>(batch->size);
    rows += batch->size;
    for (const auto& m : metrics) {
      GR_RETURN_IF_ERROR(m->Update(setup.evaluate->output(1).tensor, arguments.back()));
    }
    last = batch->last;
  }
  Values values = {{"loss", loss / static_cast<double>(std::max<int64_t>(rows, 1))}};
  for (const auto& m : metrics) values.emplace_back(m->name(), m->Value());
  return values;
}

}  // namespace graphrun
