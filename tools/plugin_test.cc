#include "tools/plugin_test.h"

#include <cmath>

#include "ops/ops.h"
#include "proto/recipe.pb.h"
#include "runtime/autodiff/conformance.h"
#include "runtime/base/rng.h"
#include "runtime/base/status.h"
#include "runtime/exec/session.h"
#include "runtime/op/evaluate.h"
#include "runtime/plugin/find.h"
#include "runtime/plugin/plugin.h"
#include "runtime/train/init.h"
#include "runtime/train/training_graph.h"
#include "tools/layers.h"
#include "tools/output.h"

namespace graphrun::cli {
namespace {

// Counts what failed and prints what there is to say.
class Report {
 public:
  explicit Report(bool verbose) : verbose_(verbose) {}
  void Add(const std::string& what, const absl::Status& status, const std::string& details = "") {
    ++checks_;
    if (!status.ok()) {
      ++failed_;
      Print("FAIL  ", what, ": ", std::string(status.message()), "\n");
    } else if (verbose_ || !details.empty()) {
      Print("ok    ", what, details.empty() ? "" : ": ", details, "\n");
    }
  }
  int checks() const { return checks_; }
  int failed() const { return failed_; }

 private:
  bool verbose_;
  int checks_ = 0, failed_ = 0;
};

void TestOperators(const OpRegistry& before, const OpRegistry& ops, Report* report) {
  using Check = absl::Status (*)(const OpDef&, const Sample&, const OpRegistry&);
  constexpr std::pair<const char*, Check> kChecks[] = {{"inference", CheckInference},
                                                       {"kernels", CheckKernels},
                                                       {"body", CheckBody},
                                                       {"gradient", CheckGradient}};
  for (const OpDef* def : ops.All()) {
    const OpDef* old = before.Find(def->domain(), def->name(), def->since());
    // An operator that was there is tested again where it gained a kernel.
    if (old != nullptr && old->kernels().size() == def->kernels().size()) continue;
    const std::string name = absl::StrCat("operator ", def->Describe());
    const int failed = report->failed();
    report->Add(name + ", declaration", CheckSchema(*def, ops));
    for (const auto& [what, check] : kChecks) {
      for (const Sample& sample : def->samples())
        report->Add(absl::StrCat(name, ", ", what), check(*def, sample, ops));
    }
    if (report->failed() == failed)
      report->Add(name, absl::OkStatus(), absl::StrCat(def->samples().size(), " samples"));
  }
}

// A network of 8 inputs, 16 tanh units and 3 outputs.
absl::StatusOr<std::unique_ptr<Graph>> SmallModel(const OpRegistry& ops) {
  LayerWriter w("small");
  Value* x = w.Input("x", DType::kFloat32, {8});
  x = w.Activation(w.Linear(x, 8, 16, true, "fc1"), "tanh", "act");
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Graph> graph, w.Finish(w.Linear(x, 16, 3, true, "fc2"), "y"));
  GR_RETURN_IF_ERROR(InitializeParameters(*graph, ops, recipe::Model::HE, 1));
  return graph;
}

// Trains the small model on 32 fixed rows; gives the loss of the first and of the last step.
absl::StatusOr<std::pair<double, double>> TrainSmall(const OpRegistry& ops, TrainingOptions options,
                                                     int steps) {
  constexpr int64_t kRows = 32;
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> model, SmallModel(ops));
  const std::unique_ptr<Schedule> schedule = *MakeSchedule(recipe::Schedule());
  options.schedule = schedule.get();
  options.total_steps = steps;
  options.class_targets = options.loss->target() == LossTarget::kClass;
  GR_ASSIGN_OR_RETURN(TrainingGraph graphs, BuildTrainingGraph(*model, ops, options));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                      Session::Create(graphs.step, &ops, {}));
  Rng rng(7);
  Tensor x(DType::kFloat32, {kRows, 8});
  for (int64_t i = 0; i < x.num_elements(); ++i)
    x.mutable_data<float>()[i] = static_cast<float>(rng.Normal());
  Tensor labels(DType::kInt64, {kRows}), values(DType::kFloat32, {kRows, 3});
  for (int64_t r = 0; r < kRows; ++r) {
    const float* row = x.data<float>() + r * 8;
    const int64_t label = row[0] > 0.4f ? 2 : row[1] > 0 ? 1 : 0;
    labels.mutable_data<int64_t>()[r] = label;
    for (int64_t c = 0; c < 3; ++c) values.mutable_data<float>()[r * 3 + c] = c == label ? 1 : 0;
  }
  double first = 0, last = 0;
  for (int step = 0; step < steps; ++step) {
    const Tensor arguments[] = {x, options.class_targets ? labels : values};
    GR_RETURN_IF_ERROR(session->Run(absl::Span<const Tensor>(arguments)));
    last = session->output(0).tensor.AsDouble(0);
    if (step == 0) first = last;
    if (!std::isfinite(last)) return PluginError("the loss is ", last, " after ", step, " steps");
  }
  if (!(last < first)) {
    return PluginError("the loss does not fall in ", steps, " steps: ", first, " before, ", last,
                       " after");
  }
  return std::make_pair(first, last);
}

void TestTraining(const std::string& what, const OpRegistry& ops, const TrainingOptions& options,
                  Report* report) {
  constexpr int kSteps = 200;
  const auto losses = TrainSmall(ops, options, kSteps);
  report->Add(what, losses.status(),
              losses.ok() ? absl::StrCat("loss ", losses->first, " to ", losses->second, " in ",
                                         kSteps, " steps")
                          : "");
}

// Where a regularizer has both, its gradient along a random direction against differences of its
// penalty.
absl::StatusOr<std::string> CompareWithPenalty(const Regularizer& regularizer,
                                               const OpRegistry& ops) {
  const ParameterRole role{ParameterKind::kWeight, 0};
  Graph graph;
  Value* w = graph.AddInput("w", Type::Tensor(DType::kFloat64, Shape::Of({4, 6})));
  Builder builder(&graph, &ops);
  const Expr gradient = regularizer.Gradient(builder.Use(w), role);
  const Expr penalty = regularizer.Penalty(builder.Use(w), role);
  GR_RETURN_IF_ERROR(builder.status());
  if (!gradient.is_defined() || !penalty.is_defined()) return std::string("trains");
  graph.AddOutput(gradient.value());
  graph.AddOutput(penalty.value());
  Rng rng(3);
  Tensor x(DType::kFloat64, {4, 6}), d(DType::kFloat64, {4, 6});
  for (int64_t i = 0; i < 24; ++i) {
    x.mutable_data<double>()[i] = rng.Normal();
    d.mutable_data<double>()[i] = rng.Normal();
  }
  double along = 0, size = 1e-12;
  const auto penalty_at = [&](double h) -> absl::StatusOr<double> {
    Tensor moved = x.Clone();
    for (int64_t i = 0; i < 24; ++i) moved.mutable_data<double>()[i] += h * d.data<double>()[i];
    GR_ASSIGN_OR_RETURN(const std::vector<Datum> out,
                        EvaluateGraph(graph, ops, {{"w", Datum(moved)}}));
    if (h == 0) {
      for (int64_t i = 0; i < 24; ++i) {
        along += out[0].tensor.AsDouble(i) * d.data<double>()[i];
        size += std::fabs(out[0].tensor.AsDouble(i) * d.data<double>()[i]);
      }
    }
    return out[1].tensor.AsDouble(0);
  };
  GR_RETURN_IF_ERROR(penalty_at(0).status());
  GR_ASSIGN_OR_RETURN(const double above, penalty_at(1e-5));
  GR_ASSIGN_OR_RETURN(const double below, penalty_at(-1e-5));
  const double error = std::fabs(along - (above - below) / 2e-5) / size;
  // Wide enough for penalties that are themselves found by iteration.
  if (!(error < 0.05)) {
    return PluginError("its gradient along a direction is ", along,
                       ", but its penalty's difference ", (above - below) / 2e-5);
  }
  return absl::StrCat("gradient and penalty agree to ", error);
}

void TestParts(const TrainRegistry& parts, const OpRegistry& ops, Report* report) {
  const TrainRegistry built_in;
  const std::unique_ptr<Loss> ce = *built_in.losses.Make({"ce", {}});
  const std::unique_ptr<Optimizer> sgd = *built_in.optimizers.Make({"momentum", {}});
  TrainingOptions options;
  options.loss = ce.get();
  options.optimizer = sgd.get();
  options.lr = 0.05;
  for (const auto& row : parts.optimizers.rows()) {
    if (row.info.provider.empty()) continue;
    const auto made = parts.optimizers.Make({row.info.name, {}});
    const std::string what = absl::StrCat("optimizer ", row.info.name);
    if (!made.ok()) {
      report->Add(what, made.status());
      continue;
    }
    TrainingOptions with = options;
    with.optimizer = made->get();
    with.lr = (*made)->default_lr();
    TestTraining(what, ops, with, report);
  }
  for (const auto& row : parts.regularizers.rows()) {
    if (row.info.provider.empty()) continue;
    const std::string what = absl::StrCat("regularizer ", row.info.name);
    const auto made = parts.regularizers.Make({row.info.name, {}});
    const auto agrees =
        made.ok() ? CompareWithPenalty(**made, ops) : absl::StatusOr<std::string>(made.status());
    report->Add(what, agrees.status(), agrees.ok() ? *agrees : "");
    if (!made.ok()) continue;
    TrainingOptions with = options;
    with.regularizers.push_back({made->get(), ""});
    TestTraining(what, ops, with, report);
  }
  for (const auto& row : parts.losses.rows()) {
    if (row.info.provider.empty()) continue;
    const auto made = parts.losses.Make({row.info.name, {}});
    const std::string what = absl::StrCat("loss ", row.info.name);
    if (!made.ok()) {
      report->Add(what, made.status());
      continue;
    }
    TrainingOptions with = options;
    with.loss = made->get();
    TestTraining(what, ops, with, report);
  }
}

// The same draws give the same sample, and it is finite.
absl::Status TestTransform(const TransformKind& kind) {
  std::vector<double> values;
  for (const TransformKind::Argument& a : kind.arguments) values.push_back(a.initial);
  Tensor results[2];
  for (Tensor& result : results) {
    Rng rng(11);
    Tensor x(DType::kFloat32, {4, 3, 8, 8}), y(DType::kInt64, {4});
    for (int64_t i = 0; i < x.num_elements(); ++i)
      x.mutable_data<float>()[i] = static_cast<float>(i % 17) / 17;
    for (int64_t i = 0; i < 4; ++i) y.mutable_data<int64_t>()[i] = i;
    if (kind.make_batch) {
      GR_ASSIGN_OR_RETURN(const auto made, kind.make_batch(values));
      Tensor fields[] = {x, y};
      const Role roles[] = {Role::kFeature, Role::kTarget};
      GR_RETURN_IF_ERROR(made->Apply(absl::MakeSpan(fields), roles, &rng));
      result = x;
    } else {
      GR_ASSIGN_OR_RETURN(const auto made, kind.make(values, 1));
      GR_ASSIGN_OR_RETURN(const Dims dims, made->OutputDims({3, 8, 8}));
      result = Tensor(DType::kFloat32, dims);
      GR_RETURN_IF_ERROR(
          made->Apply(x.data<float>(), {3, 8, 8}, &rng, result.mutable_data<float>()));
    }
  }
  for (int64_t i = 0; i < results[0].num_elements(); ++i) {
    if (!std::isfinite(results[0].AsDouble(i))) return PluginError("element ", i, " is not finite");
  }
  if (!SameBits(results[0], results[1])) return PluginError("the same draws give another sample");
  return absl::OkStatus();
}

}  // namespace

absl::Status TestPlugin(const std::string& plugin_or_path, bool verbose) {
  GR_ASSIGN_OR_RETURN(const std::string path, FindPlugin(plugin_or_path, PluginFolders()));
  OpRegistry before, ops;
  RegisterOps(before);
  RegisterOps(ops);
  TrainRegistry parts;
  PluginOptions options;
  options.guard = true;
  Plugins plugins(&ops, &parts, options);
  GR_RETURN_IF_ERROR(plugins.Load(path));
  const Plugin& plugin = plugins.loaded().back();
  Print(plugin.name, " ", plugin.version, ": ", plugin.doc, "\n");
  Report report(verbose);
  TestOperators(before, ops, &report);
  TestParts(parts, ops, &report);
  for (const TransformKind& kind : parts.transforms())
    report.Add(absl::StrCat("transform ", kind.name), TestTransform(kind), "repeats itself");
  for (const std::string& name : plugin.datasets)
    Print("      dataset ", name, ": needs a path of yours, graphrun train --data PATH --plugin ",
          path, "\n");
  Print(report.checks() - report.failed(), " checks passed, ", report.failed(), " failed\n");
  if (report.failed() > 0)
    return PluginError("plugin ", plugin.name, ": ", report.failed(), " checks failed");
  return absl::OkStatus();
}

}  // namespace graphrun::cli
