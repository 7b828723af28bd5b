#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "runtime/base/cpu.h"
#include "runtime/base/file.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/report/json.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

struct Fact {
  std::string name, value;
};

// A line of /proc/meminfo in bytes; 0 where there is none.
int64_t MemInfo(const std::string& text, const std::string& key) {
  const size_t at = text.find(key + ":");
  int64_t kib = 0;
  if (at == std::string::npos) return 0;
  const std::vector<std::string> words = absl::StrSplit(text.substr(at + key.size() + 1, 40),
                                                        absl::ByAnyChar(" \n"), absl::SkipEmpty());
  return !words.empty() && absl::SimpleAtoi(words[0], &kib) ? kib * 1024 : 0;
}

absl::Status Run(const Flags& flags) {
  std::vector<Fact> facts, problems;
  facts.push_back({"processor", CpuName()});
  std::string features;
  for (const CpuFeature& f : CpuFeatures())
    if (f.present) absl::StrAppend(&features, features.empty() ? "" : " ", f.name);
  facts.push_back({"instructions", features});
  const int64_t online = sysconf(_SC_NPROCESSORS_ONLN);
  facts.push_back({"processors", absl::StrCat(online)});
  facts.push_back({"threads", absl::StrCat(NumThreads())});
  if (NumThreads() > online) {
    problems.push_back(
        {"threads", absl::StrCat("more threads (", NumThreads(), ") than processors (", online,
                                 "): set OMP_NUM_THREADS=", online)});
  }
  const auto info = ReadFile("/proc/meminfo", 1 << 20);
  const int64_t total = info.ok() ? MemInfo(*info, "MemTotal") : 0;
  const int64_t free = info.ok() ? MemInfo(*info, "MemAvailable") : 0;
  facts.push_back({"memory", absl::StrCat(HumanBytes(free), " free of ", HumanBytes(total))});
  if (total > 0 && free < total / 20) {
    problems.push_back({"memory", "less than a twentieth is free; large models will swap"});
  }
  const auto governor = ReadFile("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", 1 << 10);
  if (governor.ok()) {
    const std::string name(absl::StripAsciiWhitespace(*governor));
    facts.push_back({"clock", name});
    if (name == "powersave") {
      problems.push_back(
          {"clock", "the governor powersave slows short runs down; measurements vary"});
    }
  }
  const auto registry = MakeRegistry(flags);
  GR_RETURN_IF_ERROR(registry.status());
  facts.push_back({"operators", absl::StrCat((*registry)->All().size(), " declarations")});
  facts.push_back({"compiler", __VERSION__});
  if (flags.On("json")) {
    JsonWriter json(2);
    json.BeginObject();
    for (const Fact& f : facts) json.Field(f.name, f.value);
    json.Key("problems").BeginArray();
    for (const Fact& p : problems) json.String(absl::StrCat(p.name, ": ", p.value));
    PrintText(json.EndArray().EndObject().Finish() + "\n");
    return absl::OkStatus();
  }
  for (const Fact& f : facts) Print(absl::StrFormat("%-13s %s\n", f.name, f.value));
  for (const Fact& p : problems) Print("problem: ", p.name, ": ", p.value, "\n");
  if (problems.empty()) Print("no problem found\n");
  return absl::OkStatus();
}

}  // namespace

Verb DoctorVerb() {
  return {"doctor",
          "",
          "says what this machine offers, and what could slow graphrun down",
          "",
          "graphrun doctor\n"
          "graphrun doctor --json",
          {{"json", "", "print as JSON"}},
          0,
          0,
          Run};
}

}  // namespace graphrun::cli
