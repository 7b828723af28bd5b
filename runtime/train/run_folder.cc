#include "runtime/train/run_folder.h"

#include <google/protobuf/text_format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>

#include "absl/base/config.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/cpu.h"
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

}  // namespace

absl::StatusOr<std::unique_ptr<RunFolder>> RunFolder::Open(const recipe::Recipe& recipe, bool force,
                                                           bool resume) {
  std::unique_ptr<RunFolder> folder(new RunFolder());
  folder->path_ = recipe.output().dir().empty() ? absl::StrCat("runs/", Stem(recipe.model().path()))
                                                : recipe.output().dir();
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
  if (used && force && !resume) {
    for (const std::string& name : checkpoints)
      GR_RETURN_IF_ERROR(RemoveFile(folder->checkpoints() + "/" + name));
    for (const char* name : {"best.onnx", "last.onnx", "train.onnx", "summary.json", "report.html",
                             "predictions.csv", "lr_range.csv"}) {
      if (FileExists(folder->path_ + "/" + name))
        GR_RETURN_IF_ERROR(RemoveFile(folder->path_ + "/" + name));
    }
  }
  return folder;
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
  return graphrun::SaveCheckpoint(path_ + "/train.onnx", setup.graphs, *setup.registry,
                                  *setup.states(), position);
}

absl::Status RunFolder::CopyBestToLast() const {
  GR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(best_model()));
  return WriteFileAtomic(last_model(), bytes);
}

absl::Status RunFolder::WriteSummary(const RunSummary& summary, bool plots) const {
  GR_RETURN_IF_ERROR(WriteFileAtomic(path_ + "/summary.json", summary.ToJson() + "\n"));
  GR_ASSIGN_OR_RETURN(const RunReport report, RunReport::Read(path_));
  return report.Write(path_, plots);
}

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
      {"data", absl::StrCat(s.data.train->size(), " samples",
                            s.data.validation == nullptr
                                ? std::string()
                                : absl::StrCat(", ", s.data.validation->size(), " to validate"),
                            s.data.classes > 0 ? absl::StrCat(", ", s.data.classes, " classes")
                                               : std::string())},
      {"loss",
       absl::StrCat(s.loss->name(),
                    s.graphs.logits && s.loss->link() != OutputLink::kNone ? " on logits" : "")},
      {"optimizer", absl::StrCat(s.optimizer->name(), ", lr ", s.options.lr)},
      {"schedule", s.schedule->name()},
      {"steps", absl::StrCat(s.updates_per_epoch, " an epoch, ", s.options.total_steps, " in all")},
      {"threads",
       absl::StrCat(s.recipe.loop().threads() > 0 ? s.recipe.loop().threads() : NumThreads())},
      {"precision", s.recipe.loop().precision()},
      {"states", HumanBytes(s.states()->bytes())}};
  return facts;
}

}  // namespace graphrun
