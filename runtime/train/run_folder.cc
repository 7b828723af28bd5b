#include "runtime/train/run_folder.h"

#include <fcntl.h>
#include <google/protobuf/text_format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/base/config.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/autodiff/gradients.h"
#include "runtime/base/cpu.h"
#include "runtime/base/file.h"
#include "runtime/base/parallel.h"
#include "runtime/base/text.h"
#include "runtime/exec/library.h"
#include "runtime/report/json.h"
#include "runtime/report/run_report.h"

namespace graphrun {
namespace {

std::string Stem(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  const size_t dot = name.find_last_of('.');
  return dot == std::string::npos || dot == 0 ? name : name.substr(0, dot);
}

std::string CheckpointName(int64_t updates) {
  char name[64];
  std::snprintf(name, sizeof name, "step-%09lld.onnx", static_cast<long long>(updates));
  return name;
}

bool IsCheckpointName(const std::string& name, int64_t* updates) {
  return name.rfind("step-", 0) == 0 && absl::EndsWith(name, ".onnx") &&
         absl::SimpleAtoi(name.substr(5, name.size() - 10), updates);
}

// The newest extension of the instruction set that this machine has: "avx512vnni".
std::string Isa() {
  std::string isa = "baseline";
  for (const CpuFeature& feature : CpuFeatures()) {
    if (feature.present) isa = feature.name;
  }
  return isa;
}

std::string OperatingSystem() {
  utsname name;
  if (uname(&name) != 0) return "unknown";
  return absl::StrCat(name.sysname, " ", name.release, " ", name.machine);
}

std::string AbseilVersion() {
#ifdef ABSL_LTS_RELEASE_VERSION
  return absl::StrCat(ABSL_LTS_RELEASE_VERSION, ".", ABSL_LTS_RELEASE_PATCH_LEVEL);
#else
  return "unversioned";
#endif
}

// Removes what writers that were killed have left.
absl::Status RemoveTemporaries(const std::string& folder) {
  GR_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  for (const std::string& name : names) {
    if (name.rfind(".graphrun-", 0) == 0 && absl::EndsWith(name, ".tmp"))
      GR_RETURN_IF_ERROR(RemoveFile(folder + "/" + name));
  }
  return absl::OkStatus();
}

// Removes the files of `folder` that a run writes there by these beginnings; what else is there
// stays.
absl::Status RemoveWritten(const std::string& folder, const std::vector<std::string>& starts) {
  if (!IsFolder(folder)) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  for (const std::string& name : names) {
    const bool written = std::any_of(starts.begin(), starts.end(), [&](const std::string& start) {
      return absl::StartsWith(name, start);
    });
    const std::string path = JoinPath(folder, name);
    if (written && !IsFolder(path)) GR_RETURN_IF_ERROR(RemoveFile(path));
  }
  return absl::OkStatus();
}

absl::Status RemoveRun(const std::string& folder) {
  GR_RETURN_IF_ERROR(RemoveWritten(
      folder,
      {"best.onnx", "last.onnx", "train.onnx", "summary.json", "report.html", "metrics.csv",
       "metrics.jsonl", "events.out.tfevents.", "predictions.csv", "profile.json", "lr_range."}));
  GR_RETURN_IF_ERROR(RemoveWritten(folder + "/checkpoints", {"step-", "best-of-epochs.onnx"}));
  return RemoveWritten(folder + "/top", {"epoch-"});
}

}  // namespace

std::string RunFolderPath(const recipe::Recipe& recipe) {
  if (!recipe.output().dir().empty()) return recipe.output().dir();
  return absl::StrCat("runs/", Stem(recipe.model().path()));
}

absl::StatusOr<std::unique_ptr<RunFolder>> RunFolder::Open(const recipe::Recipe& recipe, bool force,
                                                           bool resume) {
  std::unique_ptr<RunFolder> folder(new RunFolder());
  folder->path_ = RunFolderPath(recipe);
  GR_RETURN_IF_ERROR(CreateDirs(folder->checkpoints()));
  GR_ASSIGN_OR_RETURN(folder->lock_, ScopedFileLock::Acquire(folder->path_ + "/.lock"));
  for (const std::string& part : {folder->path_, folder->checkpoints(), folder->path_ + "/top"}) {
    if (FileExists(part)) GR_RETURN_IF_ERROR(RemoveTemporaries(part));
  }
  GR_ASSIGN_OR_RETURN(const std::vector<std::string> checkpoints,
                      ListFolder(folder->checkpoints()));
  const bool used = !checkpoints.empty() || FileExists(folder->path_ + "/summary.json");
  if (used && !force && !resume) {
    return UsageError(folder->path_,
                      ": holds a run already. Continue it with --resume, replace it with --force, "
                      "or choose another --out");
  }
  if (used && force && !resume) GR_RETURN_IF_ERROR(RemoveRun(folder->path_));
  return folder;
}

RunFolder::~RunFolder() {
  if (log_ >= 0) close(log_);
}

absl::StatusOr<std::unique_ptr<Console>> RunFolder::OpenLog(bool append) {
  const std::string path = path_ + "/train.log";
  if (log_ >= 0) close(log_);
  log_ = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0666);
  if (log_ < 0) return IoError(path, ": ", std::strerror(errno));
  Terminal lines;
  lines.fd = log_;
  lines.utf8 = true;
  lines.fixed_columns = 100;
  return Console::Make(ProgressMode::kPlain, lines);
}

std::string RunFolder::name() const {
  const size_t slash = path_.find_last_of('/');
  return slash == std::string::npos ? path_ : path_.substr(slash + 1);
}

absl::Status RunFolder::WriteEnvironment(const RunSetup& setup,
                                         const std::string& command_line) const {
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(setup.recipe, &text))
    return InternalError("the recipe does not print");
  GR_RETURN_IF_ERROR(WriteFileAtomic(path_ + "/recipe.txtpb", text));
  JsonWriter json;
  json.BeginObject();
  json.Key("command_line").String(command_line);
  json.Key("cpu").String(CpuName());
  json.Key("isa").String(Isa());
  json.Key("threads").Int(NumThreads());
  json.Key("precision").String(setup.recipe.loop().precision());
  json.Key("seed").Int(static_cast<int64_t>(setup.recipe.loop().seed()));
  json.Key("loader_workers").Int(setup.recipe.data().workers());
  json.Key("operating_system").String(OperatingSystem());
  json.Key("compiler").String(__VERSION__);
  json.Key("onednn").String(OneDnnVersion());
  json.Key("protobuf").String(google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION));
  json.Key("abseil").String(AbseilVersion());
  json.EndObject();
  return WriteFileAtomic(path_ + "/env.json", json.Finish() + "\n");
}

absl::Status RunFolder::SaveCheckpoint(const RunSetup& setup, const RunPosition& position,
                                       int64_t every) const {
  GR_RETURN_IF_ERROR(
      graphrun::SaveCheckpoint(absl::StrCat(checkpoints(), "/", CheckpointName(position.updates)),
                               setup.graphs, *setup.registry, *setup.states(), position));
  GR_ASSIGN_OR_RETURN(std::vector<std::string> all, ListFolder(checkpoints()));
  std::sort(all.rbegin(), all.rend());
  size_t kept = 0;
  for (const std::string& old : all) {
    int64_t updates = 0;
    if (!IsCheckpointName(old, &updates) || ++kept <= 2) continue;
    if (every > 0 && updates % every == 0) continue;
    GR_RETURN_IF_ERROR(RemoveFile(checkpoints() + "/" + old));
  }
  return absl::OkStatus();
}

std::string RunFolder::top_model(int64_t epoch) const {
  char name[64];
  std::snprintf(name, sizeof name, "/top/epoch-%05lld.onnx", static_cast<long long>(epoch));
  return path_ + name;
}

absl::Status RunFolder::WriteTrainingModel(const RunSetup& setup,
                                           const RunPosition& position) const {
  // The time that a run took is none of what it made: the same run gives the same file.
  RunPosition timeless = position;
  timeless.seconds = 0;
  return graphrun::SaveCheckpoint(path_ + "/train.onnx", setup.graphs, *setup.registry,
                                  *setup.states(), timeless);
}

absl::Status RunFolder::CopyBestToLast() const {
  GR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(best_model()));
  return WriteFileAtomic(last_model(), bytes);
}

absl::Status RunFolder::SetBestAside() const {
  const std::string aside = checkpoints() + "/best-of-epochs.onnx";
  if (!FileExists(best_model()) || FileExists(aside)) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(best_model()));
  return WriteFileAtomic(aside, bytes);
}

absl::Status RunFolder::RestoreBest() const {
  const std::string aside = checkpoints() + "/best-of-epochs.onnx";
  if (!FileExists(aside)) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(aside));
  GR_RETURN_IF_ERROR(WriteFileAtomic(best_model(), bytes));
  return RemoveFile(aside);
}

absl::Status RunFolder::WriteSummary(const RunSummary& summary, bool plots) const {
  GR_RETURN_IF_ERROR(WriteFileAtomic(path_ + "/summary.json", summary.ToJson() + "\n"));
  GR_ASSIGN_OR_RETURN(const RunReport report, RunReport::Read(path_));
  return report.Write(path_, plots);
}

namespace {

// "1,437 samples [64], 360 to validate".
std::string Samples(const RunSetup& s) {
  std::string text = absl::StrCat(s.data.train->size(), " samples");
  for (const InputBinding& binding : s.data.inputs)
    absl::StrAppend(&text, " ", DimsToString(binding.sample));
  if (s.data.validation != nullptr)
    absl::StrAppend(&text, ", ", s.data.validation->size(), " to validate");
  return text;
}

// "10, 130 to 146 samples each"; "" where the data have none.
std::string Classes(const RunSetup& s) {
  if (s.data.classes <= 0 || s.data.histogram.empty()) return "";
  const auto [least, most] = std::minmax_element(s.data.histogram.begin(), s.data.histogram.end());
  return absl::StrCat(s.data.classes, ", ", *least,
                      *least == *most ? "" : absl::StrCat(" to ", *most), " samples each");
}

// "all 7 nodes between parameters and loss can be differentiated".
std::string Gradients(const RunSetup& s) {
  const Graph& graph = *s.graphs.evaluate;
  std::vector<Value*> parameters;
  for (const StateUpdate& state : graph.states()) parameters.push_back(state.state);
  const GradientCoverage coverage =
      CheckGradientCoverage(graph, *s.registry, graph.outputs()[0], parameters);
  const auto good = std::count_if(coverage.rows.begin(), coverage.rows.end(),
                                  [](const auto& row) { return row.differentiable; });
  const auto all = static_cast<int64_t>(coverage.rows.size());
  return absl::StrCat(good == all ? "all" : absl::StrCat(good, " of"), " ", all,
                      " nodes between parameters and loss can be differentiated");
}

std::string Steps(const RunSetup& s) {
  const int64_t all = s.updates_per_epoch * s.recipe.loop().epochs();
  const int64_t most = s.recipe.loop().max_steps();
  std::string text = absl::StrCat(s.updates_per_epoch, " an epoch, ", all, " in all");
  if (most > 0 && most < all) absl::StrAppend(&text, ", stops after ", most);
  if (s.schedule->spans_run() && s.options.total_steps != all)
    absl::StrAppend(&text, "; schedule over ", s.options.total_steps);
  return text;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> RunFacts(const RunSetup& s) {
  int64_t trained = 0, frozen = 0;
  for (const TrainedParameter& p : s.graphs.parameters) trained += Product(p.dims);
  for (const std::string& name : s.graphs.frozen) {
    const Value* v = s.graphs.evaluate->FindValue(name);
    if (v != nullptr && v->is_initializer()) frozen += v->initializer().num_elements();
  }
  std::vector<std::pair<std::string, std::string>> facts = {
      {"model", s.recipe.model().path()},
      {"parameters", absl::StrCat(HumanCount(static_cast<double>(trained)), " trained in ",
                                  s.graphs.parameters.size(), " tensors, ",
                                  HumanCount(static_cast<double>(frozen)), " fixed")},
      {"data", Samples(s)},
      {"loss",
       absl::StrCat(s.loss->name(),
                    s.graphs.logits && s.loss->link() != OutputLink::kNone ? " on logits" : "")},
      {"optimizer", absl::StrCat(s.optimizer->name(), ", lr ", s.options.lr)},
      {"schedule", s.schedule->name()},
      {"precision", s.recipe.loop().precision()},
      {"steps", Steps(s)},
      {"threads",
       absl::StrCat(s.recipe.loop().threads() > 0 ? s.recipe.loop().threads() : NumThreads())},
      {"memory", absl::StrCat(HumanBytes(s.step_plan->arena_bytes()), " planned, ",
                              HumanBytes(s.states()->bytes()), " of parameters and states")}};
  if (!Classes(s).empty()) facts.insert(facts.begin() + 3, {"classes", Classes(s)});
  double multiply_adds = 0;
  for (const ExecutionPlan::Step& step : s.step_plan->steps()) multiply_adds += step.multiply_adds;
  facts.emplace_back("multiply-adds", absl::StrCat(HumanCount(multiply_adds), " a step of ",
                                                   s.batch_size, " samples, backward included"));
  facts.emplace_back("gradients", Gradients(s));
  return facts;
}

}  // namespace graphrun
