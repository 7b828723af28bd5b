#include "runtime/train/checkpoint.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "runtime/base/file.h"
#include "runtime/onnx/export.h"
#include "runtime/onnx/import.h"

namespace graphrun {
namespace {

constexpr char kPrefix[] = "graphrun.run.";

// Calls visit(name, field) for every field of a position.
template <typename Position, typename Visit>
void ForEachField(Position& p, Visit&& visit) {
  visit("epoch", p.epoch);
  visit("batch", p.batch);
  visit("batches", p.batches);
  visit("updates", p.updates);
  visit("best", p.best);
  visit("best_epoch", p.best_epoch);
  visit("best_step", p.best_step);
  visit("since_best", p.since_best);
  visit("since_lower_lr", p.since_lower_lr);
  visit("plateau_best", p.plateau_best);
  visit("plateau_started", p.plateau_started);
  visit("epoch_loss", p.epoch_loss);
  visit("epoch_samples", p.epoch_samples);
  visit("seconds", p.seconds);
  visit("results", p.results);
  visit("gradients", p.gradients);
  visit("warnings", p.warnings);
  visit("top", p.top);
  visit("lr", p.lr);
  visit("watched_samples", p.watched_samples);
  visit("alive", p.alive);
  visit("ended", p.ended);
  visit("end_is_best", p.end_is_best);
  visit("end_value", p.end_value);
  visit("end_results", p.end_results);
}

// Hexadecimal: every bit comes back.
std::string Text(double v) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%a", v);
  return buffer;
}
std::string Text(int64_t v) { return absl::StrCat(v); }
std::string Text(bool v) { return v ? "1" : "0"; }

bool Parse(const std::string& text, double* v) {
  char* end = nullptr;
  *v = std::strtod(text.c_str(), &end);
  return !text.empty() && *end == 0;
}
bool Parse(const std::string& text, int64_t* v) { return absl::SimpleAtoi(text, v); }
bool Parse(const std::string& text, bool* v) {
  *v = text == "1";
  return text == "0" || text == "1";
}

// Pairs as lines "first<tab>second".
std::string Text(const std::string& v) { return v; }
bool Parse(const std::string& text, std::string* v) {
  *v = text;
  return true;
}
template <typename A, typename B>
std::string Text(const std::vector<std::pair<A, B>>& pairs) {
  std::string text;
  for (const auto& [a, b] : pairs) absl::StrAppend(&text, Text(a), "\t", Text(b), "\n");
  return text;
}
template <typename A, typename B>
bool Parse(const std::string& text, std::vector<std::pair<A, B>>* pairs) {
  pairs->clear();
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(line, absl::MaxSplits('\t', 1));
    std::pair<A, B> pair;
    if (!Parse(parts.first, &pair.first) || !Parse(parts.second, &pair.second)) return false;
    pairs->push_back(std::move(pair));
  }
  return true;
}

}  // namespace

std::map<std::string, std::string> RunPosition::ToMetadata() const {
  std::map<std::string, std::string> metadata;
  ForEachField(*this, [&](const char* name, const auto& field) {
    metadata[absl::StrCat(kPrefix, name)] = Text(field);
  });
  return metadata;
}

absl::StatusOr<RunPosition> RunPosition::FromMetadata(
    const std::map<std::string, std::string>& metadata) {
  RunPosition position;
  absl::Status status;
  ForEachField(position, [&](const char* name, auto& field) {
    const auto it = metadata.find(absl::StrCat(kPrefix, name));
    if (status.ok() && (it == metadata.end() || !Parse(it->second, &field))) {
      status = CheckpointError("metadata ", kPrefix, name, " is ",
                               it == metadata.end() ? "missing" : it->second,
                               ". This is no checkpoint of a run");
    }
  });
  if (!status.ok()) return status;
  return position;
}

absl::Status SaveCheckpoint(const std::string& path, const TrainingGraph& graph,
                            const OpRegistry& registry, const StateStore& states,
                            const RunPosition& position) {
  absl::flat_hash_map<const Value*, Value*> copies;
  std::unique_ptr<Graph> copy = graph.step->Clone(&copies);
  for (const StateUpdate& s : copy->states()) {
    GR_ASSIGN_OR_RETURN(Tensor value, states.Read(s.state->name()));
    copy->SetInitializer(s.state, std::move(value));
  }
  for (auto& [key, value] : position.ToMetadata()) copy->metadata[key] = value;
  copy->producer_name = "graphrun";
  ExportOptions options;
  options.registry = &registry;
  Value* prediction = copy->FindValue(graph.prediction);
  if (prediction == nullptr)
    return InternalError("the training graph has lost its prediction \"", graph.prediction, "\"");
  return Annotate(ExportTraining(*copy, {prediction}, path, options), path);
}

absl::StatusOr<RunPosition> LoadCheckpoint(const std::string& path, StateStore* states) {
  auto model = ReadOnnx(path);
  if (!model.ok()) {
    return CheckpointError(path, ": ", model.status().message(),
                           ". Resume from an older checkpoint of the folder");
  }
  std::map<std::string, const Tensor*> held;
  for (const auto& [name, tensor] : model->graph.initializers) held[name] = &tensor;
  for (const NamedTraining& training : model->training) {
    for (const auto& [name, tensor] : training.algorithm.initializers) held[name] = &tensor;
  }
  for (const std::string& name : states->Names()) {
    const auto it = held.find(name);
    if (it == held.end()) {
      return CheckpointError(path, ": holds no state \"", name,
                             "\". Was it written with another model or recipe?");
    }
    const StateStore::Entry& entry = *states->Find(name);
    if (it->second->dtype() != entry.dtype || it->second->dims() != entry.dims) {
      return CheckpointError(path, ": state \"", name, "\" is ", it->second->type().ToString(),
                             " but the run needs ", DTypeName(entry.dtype),
                             DimsToString(entry.dims),
                             ". Was it written with another model or recipe?");
    }
  }
  auto position = RunPosition::FromMetadata(model->metadata);
  if (!position.ok()) return Annotate(position.status(), path);
  for (const std::string& name : states->Names())
    GR_RETURN_IF_ERROR(states->Write(name, *held[name]));
  return position;
}

std::string NewestCheckpoint(const std::string& folder) {
  auto names = ListFolder(folder);
  if (!names.ok()) return "";
  std::sort(names->rbegin(), names->rend());
  for (const std::string& name : *names) {
    if (!absl::StartsWith(name, "step-") || !absl::EndsWith(name, ".onnx")) continue;
    const std::string path = absl::StrCat(folder, "/", name);
    if (ReadOnnx(path).ok()) return path;
  }
  return "";
}

}  // namespace graphrun
