#include "runtime/exec/kernel_tuner.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "runtime/base/cpu.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/exec/library.h"

namespace graphrun {
namespace {

constexpr char kHeader[] = "graphrun kernel choices 1";
constexpr char kExplanation[] =
    "# The fastest kernel of each step, as measured (--tune-kernels). A line: the kernel that is\n"
    "# taken, the step, and what each kernel took, with tabs between. A step whose line is "
    "deleted\n"
    "# is measured again.\n";
constexpr int64_t kMaxBytes = int64_t{1} << 26;

std::string TimesText(const std::vector<KernelTime>& times) {
  return absl::StrJoin(times, ", ", [](std::string* out, const KernelTime& t) {
    absl::StrAppend(out, t.kernel, absl::StrFormat(" %.4g ms", t.seconds * 1e3));
  });
}

bool ParseTimes(absl::string_view text, std::vector<KernelTime>* times) {
  for (const absl::string_view part : absl::StrSplit(text, ", ")) {
    const std::vector<std::string> words = absl::StrSplit(part, ' ');
    double ms;
    if (words.size() != 3 || words[2] != "ms" || !KernelTuner::IsPlain(words[0]) ||
        !absl::SimpleAtod(words[1], &ms) || !std::isfinite(ms) || ms < 0) {
      return false;
    }
    times->push_back({words[0], ms * 1e-3});
  }
  return true;
}

bool IsAmong(const std::vector<KernelTime>& times, const std::string& kernel) {
  return std::any_of(times.begin(), times.end(),
                     [&](const KernelTime& t) { return t.kernel == kernel; });
}

}  // namespace

std::string KernelTuner::Machine(int threads) {
  return absl::StrCat(CpuName(), ", oneDNN ", OneDnnVersion(), ", graphrun ", GRAPHRUN_VERSION,
                      ", ", threads, threads == 1 ? " thread" : " threads");
}

bool KernelTuner::IsPlain(const std::string& kernel) {
  return !kernel.empty() && std::all_of(kernel.begin(), kernel.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-';
  });
}

absl::StatusOr<std::shared_ptr<KernelTuner>> KernelTuner::Open(const std::string& path) {
  std::shared_ptr<KernelTuner> tuner(new KernelTuner(path));
  absl::MutexLock lock(&tuner->mutex_);
  GR_RETURN_IF_ERROR(Read(path, &tuner->choices_));
  // A folder that takes no file is found out now, not after everything was measured.
  if (!FileExists(path)) GR_RETURN_IF_ERROR(AtomicFile::Create(path).status());
  return tuner;
}

absl::Status KernelTuner::Read(const std::string& path, Choices* choices) {
  if (!FileExists(path)) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  if (text.empty()) return absl::OkStatus();
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  if (lines[0] != kHeader) {
    return DataError(path, ": the first line is not \"", kHeader,
                     "\": --tune-kernels did not write this file. Name another");
  }
  std::string machine;
  for (size_t i = 1; i < lines.size(); ++i) {
    absl::string_view line = lines[i];
    if (line.empty() || line[0] == '#') continue;
    if (absl::ConsumePrefix(&line, "[") && absl::ConsumeSuffix(&line, "]")) {
      machine = std::string(line);
      continue;
    }
    const std::vector<std::string> parts = absl::StrSplit(lines[i], '\t');
    KernelChoice choice;
    if (machine.empty() || parts.size() != 3 || parts[1].empty() ||
        !ParseTimes(parts[2], &choice.times) || !IsAmong(choice.times, parts[0])) {
      return DataError(path, ":", i + 1,
                       ": not a kernel, a step and times in milliseconds, with tabs between, "
                       "under a machine in brackets: the file is damaged. Delete the line, or the "
                       "file; what is missing is measured again");
    }
    choice.kernel = parts[0];
    choices->emplace(Key(machine, parts[1]), std::move(choice));
  }
  return absl::OkStatus();
}

absl::optional<KernelChoice> KernelTuner::Find(const std::string& machine,
                                               const std::string& key) const {
  absl::MutexLock lock(&mutex_);
  const auto it = choices_.find(Key(machine, key));
  if (it == choices_.end()) return absl::nullopt;
  return it->second;
}

void KernelTuner::Add(const std::string& machine, const std::string& key, KernelChoice choice) {
  absl::MutexLock lock(&mutex_);
  choices_[Key(machine, key)] = std::move(choice);
  ++measured_;
  changed_ = true;
}

absl::Status KernelTuner::Save() {
  absl::MutexLock lock(&mutex_);
  if (!changed_) return absl::OkStatus();
  GR_RETURN_IF_ERROR(Read(path_, &choices_));
  std::string text = absl::StrCat(kHeader, "\n", kExplanation);
  absl::string_view machine;
  for (const auto& [key, choice] : choices_) {
    if (key.first != machine) absl::StrAppend(&text, "\n[", key.first, "]\n");
    machine = key.first;
    absl::StrAppend(&text, choice.kernel, "\t", key.second, "\t", TimesText(choice.times), "\n");
  }
  GR_RETURN_IF_ERROR(WriteFileAtomic(path_, text));
  changed_ = false;
  return absl::OkStatus();
}

int64_t KernelTuner::measured() const {
  absl::MutexLock lock(&mutex_);
  return measured_;
}

}  // namespace graphrun
