#include <algorithm>
#include <cmath>

#include "absl/strings/str_replace.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/onnx/import.h"
#include "runtime/passes/mixed_precision.h"
#include "runtime/report/json.h"
#include "runtime/train/evaluation.h"
#include "tools/model_inputs.h"
#include "tools/output.h"
#include "tools/recipe_flags.h"
#include "tools/registry.h"
#include "tools/run_path.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

std::string CsvText(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string Number(double x) {
  return std::isnan(x) ? "nan" : std::isinf(x) ? (x > 0 ? "inf" : "-inf") : ShortestNumber(x);
}

// One line for each row: its number, what is known, what the model says.
class CsvWriter {
 public:
  CsvWriter(const TrainData& data, bool classes, bool scores)
      : data_(data), classes_(classes), scores_(scores) {}

  absl::Status Add(const Batch& batch, const Tensor& output, const Tensor& target) {
    const int64_t columns = batch.size > 0 ? output.num_elements() / batch.size : 0;
    if (text_.empty()) Header(columns, target);
    for (int64_t i = 0; i < batch.size; ++i) {
      absl::StrAppend(&text_, batch.rows[static_cast<size_t>(i)]);
      if (target.is_defined()) Target(target, i);
      if (classes_) {
        const auto [best, score] = Choose(output, i, columns);
        absl::StrAppend(&text_, ",", CsvText(Name(best)), ",", Number(score));
      }
      if (!classes_ || scores_) {
        for (int64_t c = 0; c < columns; ++c)
          absl::StrAppend(&text_, ",", Number(output.AsDouble(i * columns + c)));
      }
      text_ += '\n';
    }
    return absl::OkStatus();
  }
  const std::string& text() const { return text_; }

 private:
  std::string Name(int64_t c) const {
    const auto i = static_cast<size_t>(c);
    return c >= 0 && i < data_.class_names.size() ? data_.class_names[i] : absl::StrCat(c);
  }

  void Header(int64_t columns, const Tensor& target) {
    text_ = "row";
    if (target.is_defined()) {
      const int64_t n = target.dim(0) > 0 ? target.num_elements() / target.dim(0) : 1;
      for (int64_t c = 0; c < n; ++c)
        absl::StrAppend(&text_, ",target", n > 1 ? absl::StrCat(c) : std::string());
    }
    if (classes_) text_ += ",prediction,score";
    if (!classes_ || scores_) {
      for (int64_t c = 0; c < columns; ++c)
        absl::StrAppend(&text_, ",output", columns > 1 ? absl::StrCat(c) : std::string());
    }
    text_ += '\n';
  }

  void Target(const Tensor& target, int64_t i) {
    const int64_t n = target.num_elements() / target.dim(0);
    for (int64_t c = 0; c < n; ++c) {
      const double x = target.AsDouble(i * n + c);
      absl::StrAppend(&text_, ",",
                      data_.class_target ? CsvText(Name(static_cast<int64_t>(x))) : Number(x));
    }
  }

  // The class of the largest score, and that score.
  static std::pair<int64_t, double> Choose(const Tensor& output, int64_t i, int64_t columns) {
    int64_t best = 0;
    for (int64_t c = 1; c < columns; ++c)
      if (output.AsDouble(i * columns + c) > output.AsDouble(i * columns + best)) best = c;
    return {best, output.AsDouble(i * columns + best)};
  }

  const TrainData& data_;
  bool classes_, scores_;
  std::string text_;
};

absl::Status Run(const Flags& flags) {
  if (!flags.Has("data")) return UsageError("--data PATH says what to predict");
  GR_ASSIGN_OR_RETURN(const std::string path, ModelOf(flags.argument(0)));
  GR_ASSIGN_OR_RETURN(const int64_t threads, flags.Int("threads", 0, 0, 4096));
  GR_ASSIGN_OR_RETURN(const recipe::Recipe recipe, DataRecipe(flags.argument(0), flags));
  GR_ASSIGN_OR_RETURN(const Registries registries,
                      MakeRegistries(flags, {recipe.plugin().begin(), recipe.plugin().end()}));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, ImportOnnx(path));
  SessionOptions options;
  options.threads = static_cast<int>(threads);
  GR_ASSIGN_OR_RETURN(options.precision, PrecisionFromName(flags.Get("precision", "f32")));
  GR_ASSIGN_OR_RETURN(options.tuner, OpenTuner(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Predictor> predictor,
                      Predictor::Create(*graph, *registries.ops, recipe, recipe.data().path(),
                                        false, options, registries.parts));
  GR_ASSIGN_OR_RETURN(const std::string kind,
                      flags.Choice("kind", "auto", {"auto", "class", "value"}));
  std::unique_ptr<CsvWriter> csv;
  GR_RETURN_IF_ERROR(
      predictor->Run([&](const Batch& batch, const Tensor& output, const Tensor& target) {
        if (csv == nullptr) {
          const bool several = output.rank() == 2 && output.dim(1) > 1;
          const bool classes =
              kind == "class" || (kind == "auto" && several &&
                                  (predictor->data().target < 0 || predictor->data().class_target));
          csv = std::make_unique<CsvWriter>(predictor->data(), classes, flags.On("scores"));
        }
        return csv->Add(batch, output, target);
      }));
  const std::string text = csv == nullptr ? "row\n" : csv->text();
  if (!flags.Has("output")) {
    PrintText(text);
    return absl::OkStatus();
  }
  return WriteFileAtomic(flags.Get("output"), text);
}

}  // namespace

Verb PredictVerb() {
  Verb verb{
      "predict",
      "MODEL.onnx|RUN",
      "writes what a model says to each row of the data, as csv",
      "Columns: the row's number, the target where the data has one, the chosen class and "
      "its score, or the\n"
      "outputs. --target none: the data has no target. Data for a run's model are read as the run "
      "read its own, unless\n"
      "flags say otherwise.",
      "graphrun predict runs/digits --data new.csv --target none -o predictions.csv\n"
      "graphrun predict model.onnx --data images/ --scores",
      DataFlags(),
      1,
      1,
      Run};
  verb.flags.push_back({"output", "FILE", "instead of standard output", false, 'o'});
  verb.flags.push_back({"kind", "auto,class,value", "choose a class, or print the outputs"});
  verb.flags.push_back({"scores", "", "all outputs beside the chosen class"});
  verb.flags.push_back({"threads", "N", "0: all"});
  verb.flags.push_back({"precision", "f32,bf16", "bf16: products in bf16"});
  verb.flags.push_back(TuneKernelsFlag());
  return verb;
}

}  // namespace graphrun::cli
