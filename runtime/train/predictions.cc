#include "runtime/train/predictions.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/file.h"
#include "runtime/onnx/import.h"
#include "runtime/passes/mixed_precision.h"
#include "runtime/report/class_rows.h"

namespace graphrun {
namespace {

// A csv field, quoted where it must be (RFC 4180).
std::string Quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string ClassName(const TrainData& data, int64_t c) {
  if (c < 0) return "";
  const auto index = static_cast<size_t>(c);
  return index < data.class_names.size() ? Quoted(data.class_names[index]) : absl::StrCat(c);
}

absl::Status AppendClasses(const RunSetup& setup, const Tensor& y, const Tensor& target,
                           int64_t first, std::string* csv, ConfusionMatrix* confusion) {
  GR_ASSIGN_OR_RETURN(const ClassRows rows, ReadClassRows(y, target, setup.metric_options()));
  int64_t most = std::max<int64_t>(rows.classes, setup.data.classes);
  for (const int64_t c : rows.actual) most = std::max(most, c + 1);
  for (const int64_t c : rows.chosen) most = std::max(most, c + 1);
  GR_RETURN_IF_ERROR(confusion->Grow(most));
  for (int64_t r = 0; r < rows.rows; ++r) {
    const auto i = static_cast<size_t>(r);
    const int64_t chosen = rows.chosen[i];
    confusion->Add(rows.actual[i], chosen);
    absl::StrAppend(csv, first + r, ",", ClassName(setup.data, rows.actual[i]), ",",
                    ClassName(setup.data, chosen));
    if (rows.single_score) {
      absl::StrAppend(csv, ",", rows.scores[i]);
    } else if (chosen >= 0 && !rows.scores.empty()) {
      absl::StrAppend(csv, ",", rows.scores[static_cast<size_t>(r * rows.classes + chosen)]);
    } else {
      absl::StrAppend(csv, ",");
    }
    csv->push_back('\n');
  }
  return absl::OkStatus();
}

absl::Status AppendValues(const Tensor& y, const Tensor& target, int64_t rows, int64_t first,
                          std::string* csv) {
  const int64_t outputs = y.num_elements() / std::max<int64_t>(rows, 1);
  const int64_t targets = target.num_elements() / std::max<int64_t>(rows, 1);
  if (first == 0) {
    *csv = "row";
    for (int64_t i = 0; i < targets; ++i) absl::StrAppend(csv, ",actual_", i);
    for (int64_t i = 0; i < outputs; ++i) absl::StrAppend(csv, ",predicted_", i);
    csv->push_back('\n');
  }
  for (int64_t r = 0; r < rows; ++r) {
    absl::StrAppend(csv, first + r);
    for (int64_t i = 0; i < targets; ++i)
      absl::StrAppend(csv, ",", target.AsDouble(r * targets + i));
    for (int64_t i = 0; i < outputs; ++i) absl::StrAppend(csv, ",", y.AsDouble(r * outputs + i));
    csv->push_back('\n');
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WritePredictions(const RunSetup& setup, const std::string& model,
                              const std::string& path, ConfusionMatrix* confusion) {
  GR_ASSIGN_OR_RETURN(std::shared_ptr<Graph> graph, ImportOnnx(model));
  SessionOptions options;
  options.threads = setup.recipe.loop().threads();
  GR_ASSIGN_OR_RETURN(options.precision, PrecisionFromName(setup.recipe.loop().precision()));
  if (!setup.recipe.loop().tune_kernels().empty()) {
    GR_ASSIGN_OR_RETURN(options.tuner, KernelTuner::Open(setup.recipe.loop().tune_kernels()));
  }
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                      Session::Create(graph, setup.registry, options));
  GR_RETURN_IF_ERROR(setup.validation_loader->Seek(0, 0));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  const bool classes = setup.classification();
  std::string csv = classes ? "row,actual,predicted,score\n" : "";
  std::vector<Tensor> arguments;
  int64_t first = 0;
  for (bool last = false; !last;) {
    GR_ASSIGN_OR_RETURN(const Batch* batch, setup.validation_loader->Next());
    ArrangeBatch(setup.data, *batch, &arguments);
    const Tensor target = arguments.back();
    arguments.pop_back();
    GR_RETURN_IF_ERROR(Annotate(session->Run(absl::Span<const Tensor>(arguments)), model));
    const Tensor& y = session->output(0).tensor;
    GR_RETURN_IF_ERROR(classes ? AppendClasses(setup, y, target, first, &csv, confusion)
                               : AppendValues(y, target, batch->size, first, &csv));
    GR_RETURN_IF_ERROR(file->Append(csv));
    csv.clear();
    first += batch->size;
    last = batch->last;
  }
  return file->Commit();
}

}  // namespace graphrun
