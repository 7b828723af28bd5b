#include <algorithm>
#include <chrono>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/onnx/import.h"
#include "runtime/passes/mixed_precision.h"
#include "runtime/report/json.h"
#include "runtime/report/terminal.h"
#include "runtime/train/evaluation.h"
#include "tools/model_inputs.h"
#include "tools/output.h"
#include "tools/recipe_flags.h"
#include "tools/registry.h"
#include "tools/run_path.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

std::string ClassName(const TrainData& data, int64_t c) {
  const auto i = static_cast<size_t>(c);
  return i < data.class_names.size() ? data.class_names[i] : absl::StrCat(c);
}

void PrintConfusion(const Evaluation& e, const TrainData& data) {
  const int64_t n = e.confusion.classes();
  if (n < 2) return;
  size_t name_width = 5, width = 4;
  for (int64_t c = 0; c < n; ++c) {
    name_width = std::max(name_width, ClassName(data, c).size());
    for (int64_t p = 0; p < n; ++p)
      width = std::max(width, absl::StrCat(e.confusion.count(c, p)).size() + 1);
  }
  Print("\n", absl::StrFormat("%-*s  precision  recall  f1      samples",
                              static_cast<int>(name_width), "class"));
  const bool matrix = n <= 20;
  if (matrix) {
    Print("   taken for");
    for (int64_t c = 0; c < n; ++c)
      Print(
          absl::StrFormat("%*s", static_cast<int>(width), ClassName(data, c).substr(0, width - 1)));
  }
  Print("\n");
  for (int64_t c = 0; c < n; ++c) {
    Print(absl::StrFormat("%-*s  %.4f     %.4f  %.4f  %7d", static_cast<int>(name_width),
                          ClassName(data, c), e.confusion.Precision(c), e.confusion.Recall(c),
                          e.confusion.F1(c), e.confusion.actual(c)));
    if (matrix) {
      Print("            ");
      for (int64_t p = 0; p < n; ++p)
        Print(absl::StrFormat("%*d", static_cast<int>(width), e.confusion.count(c, p)));
    }
    Print("\n");
  }
}

std::string Json(const std::string& model, const Evaluation& e, const TrainData& data,
                 double seconds) {
  JsonWriter json(2);
  json.BeginObject().Field("model", model).Field("samples", e.samples).Field("seconds", seconds);
  json.Key("metrics").BeginObject();
  for (const auto& [name, value] : e.metrics) json.Field(name, value);
  json.EndObject();
  const int64_t n = e.confusion.classes();
  if (n > 0) {
    json.Key("classes").BeginArray();
    for (int64_t c = 0; c < n; ++c) json.String(ClassName(data, c));
    json.EndArray().Key("confusion").BeginArray();
    for (int64_t c = 0; c < n; ++c) {
      json.BeginArray();
      for (int64_t p = 0; p < n; ++p) json.Int(e.confusion.count(c, p));
      json.EndArray();
    }
    json.EndArray();
  }
  return json.EndObject().Finish() + "\n";
}

absl::Status Run(const Flags& flags) {
  if (!flags.Has("data")) return UsageError("--data PATH says what to evaluate on");
  GR_ASSIGN_OR_RETURN(const std::string path, ModelOf(flags.argument(0)));
  GR_ASSIGN_OR_RETURN(const int64_t threads, flags.Int("threads", 0, 0, 4096));
  GR_ASSIGN_OR_RETURN(const recipe::Recipe recipe, DataRecipe(flags.argument(0), flags));
  const std::vector<std::string> names(recipe.loop().metric().begin(),
                                       recipe.loop().metric().end());
  GR_ASSIGN_OR_RETURN(const Registries registries,
                      MakeRegistries(flags, {recipe.plugin().begin(), recipe.plugin().end()}));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, ImportOnnx(path));
  SessionOptions options;
  options.threads = static_cast<int>(threads);
  GR_ASSIGN_OR_RETURN(options.precision, PrecisionFromName(flags.Get("precision", "f32")));
  GR_ASSIGN_OR_RETURN(options.tuner, OpenTuner(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Predictor> predictor,
                      Predictor::Create(*graph, *registries.ops, recipe, recipe.data().path(), true,
                                        options, registries.parts));
  const auto start = std::chrono::steady_clock::now();
  GR_ASSIGN_OR_RETURN(const Evaluation e, EvaluateModel(predictor.get(), names));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (flags.On("json")) {
    PrintText(Json(path, e, predictor->data(), seconds));
    return absl::OkStatus();
  }
  Print(path, ": ", e.samples, " samples of ", recipe.data().path(), " in ", HumanSeconds(seconds),
        "\n");
  for (const auto& [name, value] : e.metrics)
    Print(absl::StrFormat("%-18s %s\n", name, HumanNumber(value)));
  PrintConfusion(e, predictor->data());
  return absl::OkStatus();
}

}  // namespace

Verb EvalVerb() {
  Verb verb{"eval",
            "MODEL.onnx|RUN",
            "measures a model on data with known answers",
            "Classes: accuracy, top-5, precision, recall, F1, Matthews' correlation, log loss, ROC "
            "area, and the\n"
            "confusion matrix. Numbers: MSE, RMSE, MAE, R2. Of a run's folder best.onnx is taken, "
            "and the data are\n"
            "read as the run read its own, unless flags say otherwise.",
            "graphrun eval runs/digits --data test.csv\n"
            "graphrun eval model.onnx --data images/ --metric accuracy,top3 --json",
            DataFlags(),
            1,
            1,
            Run};
  verb.flags.push_back({"metric", "NAME,NAME", "these instead of what suits the target"});
  verb.flags.push_back({"threads", "N", "0: all"});
  verb.flags.push_back({"precision", "f32,bf16", "bf16: products in bf16"});
  verb.flags.push_back(TuneKernelsFlag());
  verb.flags.push_back({"json", "", "print as JSON"});
  return verb;
}

}  // namespace graphrun::cli
