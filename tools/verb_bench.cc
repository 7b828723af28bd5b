#include <algorithm>
#include <chrono>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "runtime/base/cpu.h"
#include "runtime/base/file.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/onnx/import.h"
#include "runtime/report/json.h"
#include "tools/bench_training.h"
#include "tools/model_inputs.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The most memory that this process ever had, bytes; 0 where the system does not say.
int64_t PeakMemory() {
  const auto text = ReadFile("/proc/self/status", 1 << 20);
  if (!text.ok()) return 0;
  const size_t at = text->find("VmHWM:");
  int64_t kib = 0;
  if (at == std::string::npos) return 0;
  const std::vector<std::string> words =
      absl::StrSplit(text->substr(at + 6, 40), absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
  return !words.empty() && absl::SimpleAtoi(words[0], &kib) ? kib * 1024 : 0;
}

// The q-quantile of sorted numbers: the least that q of them do not exceed.
double Quantile(const std::vector<double>& sorted, double q) {
  const size_t n = sorted.size();
  const size_t rank =
      static_cast<size_t>(std::min(static_cast<double>(n - 1), q * static_cast<double>(n)));
  return sorted[rank];
}

struct Timing {
  double prepare = 0;           // the first run: compiling, packing
  std::vector<double> seconds;  // sorted
  double mean = 0;
};

absl::StatusOr<Timing> Measure(Session* session, const std::vector<Datum>& inputs, int64_t warmup,
                               int64_t runs, double time) {
  Timing timing;
  const auto first = Clock::now();
  GR_RETURN_IF_ERROR(session->Run(absl::Span<const Datum>(inputs)));
  timing.prepare = SecondsSince(first);
  for (int64_t i = 0; i < warmup; ++i) {
    GR_RETURN_IF_ERROR(session->Run(absl::Span<const Datum>(inputs)));
  }
  const auto start = Clock::now();
  while (runs > 0 ? static_cast<int64_t>(timing.seconds.size()) < runs
                  : timing.seconds.size() < 3 || SecondsSince(start) < time) {
    const auto begin = Clock::now();
    GR_RETURN_IF_ERROR(session->Run(absl::Span<const Datum>(inputs)));
    timing.seconds.push_back(SecondsSince(begin));
    timing.mean += timing.seconds.back();
  }
  timing.mean /= static_cast<double>(timing.seconds.size());
  std::sort(timing.seconds.begin(), timing.seconds.end());
  return timing;
}

std::string Duration(double seconds) {
  return seconds < 1e-3 ? absl::StrFormat("%.1f us", seconds * 1e6)
         : seconds < 1  ? absl::StrFormat("%.3f ms", seconds * 1e3)
                        : absl::StrFormat("%.3f s", seconds);
}

// Rows of the first input: samples that a run takes.
int64_t Samples(const std::vector<Datum>& inputs) {
  for (const Datum& d : inputs)
    if (d.is_tensor() && d.tensor.rank() > 0) return std::max<int64_t>(d.tensor.dim(0), 1);
  return 1;
}

// Random labels made valid ones.
void BoundClasses(int64_t classes, Datum* target) {
  if (!target->is_tensor() || target->tensor.dtype() != DType::kInt64) return;
  for (int64_t i = 0; i < target->tensor.num_elements(); ++i)
    target->tensor.mutable_data<int64_t>()[i] %= classes;
}

void Report(const Flags& flags, const Timing& t, int64_t samples, int64_t arena, int64_t constants,
            size_t steps, const Profile& profile) {
  const int64_t peak = PeakMemory();
  if (flags.On("json")) {
    JsonWriter json(2);
    json.BeginObject().Field("model", flags.argument(0)).Field("train", flags.On("train"));
    json.Field("cpu", CpuName()).Field("threads", NumThreads()).Field("runs", t.seconds.size());
    json.Field("batch", samples).Field("prepare_seconds", t.prepare).Field("mean_seconds", t.mean);
    json.Field("min_seconds", t.seconds.front()).Field("p50_seconds", Quantile(t.seconds, 0.5));
    json.Field("p90_seconds", Quantile(t.seconds, 0.9))
        .Field("p99_seconds", Quantile(t.seconds, 0.99));
    json.Field("samples_per_second", static_cast<double>(samples) / t.mean);
    json.Field("planned_bytes", arena).Field("constant_bytes", constants).Field("peak_bytes", peak);
    json.Field("steps", steps).Key("profile").BeginArray();
    for (const Profile::Row& row : profile.rows) {
      json.BeginObject().Field("name", row.label).Field("op", row.op).Field("kernel", row.kernel);
      json.Field("info", row.info).Field("calls", row.calls).Field("seconds", row.seconds);
      json.EndObject();
    }
    PrintText(json.EndArray().EndObject().Finish() + "\n");
    return;
  }
  Print(flags.argument(0), flags.On("train") ? ": a training step" : "", ", batch ", samples, ", ",
        NumThreads(), " threads, ", steps, " steps\n");
  Print("first run   ", Duration(t.prepare), " (with planning)\n");
  Print("latency     P50 ", Duration(Quantile(t.seconds, 0.5)), "  P90 ",
        Duration(Quantile(t.seconds, 0.9)), "  P99 ", Duration(Quantile(t.seconds, 0.99)), "  min ",
        Duration(t.seconds.front()), "  mean ", Duration(t.mean), "  (", t.seconds.size(),
        " runs)\n");
  Print("throughput  ", HumanCount(1 / t.mean), " runs/s, ",
        HumanCount(static_cast<double>(samples) / t.mean), " samples/s\n");
  Print("memory      ", HumanBytes(arena), " planned, ", HumanBytes(constants), " constants, ",
        HumanBytes(peak), " peak of the process\n");
  if (!profile.rows.empty()) Print("\n", profile.ToString(0));
}

absl::Status Run(const Flags& flags) {
  const std::string& path = flags.argument(0);
  GR_ASSIGN_OR_RETURN(const SessionOptions options, ReadSession(flags));
  GR_ASSIGN_OR_RETURN(const int64_t runs, flags.Int("runs", 0, 1));
  GR_ASSIGN_OR_RETURN(const int64_t warmup, flags.Int("warmup", 3, 0));
  GR_ASSIGN_OR_RETURN(const double time, flags.Number("time", 2));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  GR_ASSIGN_OR_RETURN(std::shared_ptr<const Graph> graph, ImportOnnx(path));
  int64_t classes = 0;
  if (flags.On("train")) {
    auto step = TrainingStep(*graph, *registry, flags);
    if (!step.ok()) return Annotate(step.status(), path);
    graph = step->graph;
    classes = step->classes;
  }
  GR_ASSIGN_OR_RETURN(std::vector<Datum> inputs, ReadInputs(*graph, flags, true));
  if (classes > 0) BoundClasses(classes, &inputs.back());
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                      Session::Create(graph, registry.get(), options));
  auto timing = Measure(session.get(), inputs, warmup, runs, time);
  if (!timing.ok()) return Annotate(timing.status(), path);
  std::vector<Type> types;
  for (const Datum& d : inputs) types.push_back(d.type());
  GR_ASSIGN_OR_RETURN(const auto plan, session->Prepare(types));
  Profile profile;
  if (flags.On("profile")) {
    session->set_profile(&profile);
    const int64_t n = std::clamp<int64_t>(static_cast<int64_t>(timing->seconds.size()), 1, 20);
    for (int64_t i = 0; i < n; ++i) {
      GR_RETURN_IF_ERROR(session->Run(absl::Span<const Datum>(inputs)));
    }
  }
  Report(flags, *timing, Samples(inputs), plan->arena_bytes(), plan->constant_bytes(),
         plan->steps().size(), profile);
  return absl::OkStatus();
}

}  // namespace

Verb BenchVerb() {
  Verb verb{
      "bench",
      "MODEL.onnx",
      "measures latency, throughput and memory of a run or of a training step",
      "Inputs that are not given are random. --train measures forward, backward and update in "
      "one graph.",
      "graphrun bench model.onnx --batch 8\n"
      "graphrun bench model.onnx --train --batch 64 --optimizer adam --profile\n"
      "graphrun bench model.onnx --threads 1 --runs 1000 --json",
      {{"train", "", "a training step instead of a run"},
       {"optimizer", "NAME", "with --train (sgd)"},
       {"loss", "NAME", "with --train (auto)"},
       {"runs", "N", "measure so many runs, instead of --time"},
       {"time", "SECONDS", "measure for so long (2)"},
       {"warmup", "N", "runs before measuring (3)"},
       {"profile", "", "time of every step"}},
      1,
      1,
      Run};
  for (const FlagSpec& f : InputFlags()) verb.flags.push_back(f);
  for (const FlagSpec& f : SessionFlags()) verb.flags.push_back(f);
  verb.flags.push_back({"json", "", "print as JSON"});
  return verb;
}

}  // namespace graphrun::cli
