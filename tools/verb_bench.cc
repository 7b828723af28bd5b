#include <algorithm>
#include <chrono>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "runtime/base/cpu.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/exec/planned_memory.h"
#include "runtime/report/json.h"
#include "tools/measured_model.h"
#include "tools/model_inputs.h"
#include "tools/output.h"
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
  double load = 0;              // reading the model, making the training step
  double prepare = 0;           // the first run: compiling, packing
  std::vector<double> seconds;  // sorted
  double mean = 0;
};

absl::StatusOr<Timing> Measure(MeasuredModel& model, int64_t warmup, int64_t runs, double time) {
  Timing timing;
  const auto first = Clock::now();
  GR_RETURN_IF_ERROR(model.Run());
  timing.prepare = SecondsSince(first);
  for (int64_t i = 0; i < warmup; ++i) {
    GR_RETURN_IF_ERROR(model.Run());
  }
  const auto start = Clock::now();
  while (runs > 0 ? static_cast<int64_t>(timing.seconds.size()) < runs
                  : timing.seconds.size() < 3 || SecondsSince(start) < time) {
    const auto begin = Clock::now();
    GR_RETURN_IF_ERROR(model.Run());
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

struct Result {
  Timing timing;
  int64_t samples = 1;
  std::shared_ptr<const ExecutionPlan> plan;
  Profile profile;
  double peak = 0;     // multiply-adds a second that the machine reaches; 0: not measured
  int64_t memory = 0;  // the most that the process had until the model's last run, bytes

  // Multiply-adds a second, by the median.
  double rate() const { return profile.multiply_adds() / Quantile(timing.seconds, 0.5); }
  double share_of_peak() const { return peak > 0 ? rate() / peak : 0; }
};

void ReportJson(const Flags& flags, const Result& r) {
  const Timing& t = r.timing;
  JsonWriter json(2);
  json.BeginObject().Field("model", flags.argument(0)).Field("train", flags.On("train"));
  json.Field("cpu", CpuName()).Field("threads", r.plan->threads()).Field("runs", t.seconds.size());
  json.Field("precision", flags.Get("precision", "f32"));
  json.Field("batch", r.samples).Field("load_seconds", t.load);
  json.Field("prepare_seconds", t.prepare).Field("mean_seconds", t.mean);
  json.Field("min_seconds", t.seconds.front()).Field("p50_seconds", Quantile(t.seconds, 0.5));
  json.Field("p90_seconds", Quantile(t.seconds, 0.9))
      .Field("p99_seconds", Quantile(t.seconds, 0.99));
  json.Field("samples_per_second", static_cast<double>(r.samples) / t.mean);
  json.Field("multiply_adds", r.profile.multiply_adds()).Field("gflops", 2e-9 * r.rate());
  if (r.peak > 0) json.Field("peak_gflops", 2e-9 * r.peak).Field("peak_share", r.share_of_peak());
  const PlannedMemory memory = MemoryOf(*r.plan);
  json.Field("planned_bytes", memory.total()).Field("arena_bytes", memory.arena);
  json.Field("constant_bytes", memory.constants).Field("state_bytes", memory.states);
  json.Field("output_bytes", memory.outputs).Field("peak_bytes", r.memory);
  json.Field("steps", r.plan->steps().size()).Key("operators").BeginArray();
  for (const Profile::OpShare& share : r.profile.ByOperator()) {
    json.BeginObject().Field("op", share.op).Field("steps", share.steps);
    json.Field("seconds", share.seconds / static_cast<double>(r.profile.runs));
    json.Field("share", share.seconds / r.profile.seconds).EndObject();
  }
  json.EndArray().Key("profile").BeginArray();
  if (flags.On("profile")) {
    for (const Profile::Row& row : r.profile.rows) {
      json.BeginObject().Field("name", row.label).Field("op", row.op).Field("kernel", row.kernel);
      json.Field("info", row.info).Field("calls", row.calls).Field("seconds", row.seconds);
      json.EndObject();
    }
  }
  PrintText(json.EndArray().EndObject().Finish() + "\n");
}

void Report(const Flags& flags, const Result& r) {
  const Timing& t = r.timing;
  Print(flags.argument(0), flags.On("train") ? ": a training step" : "", ", batch ", r.samples,
        ", ", r.plan->threads(), " threads, ", flags.Get("precision", "f32"), ", ",
        r.plan->steps().size(), " steps\n");
  Print("first run   ", Duration(t.prepare), " (with planning), after ", Duration(t.load),
        " of loading\n");
  Print("latency     P50 ", Duration(Quantile(t.seconds, 0.5)), "  P90 ",
        Duration(Quantile(t.seconds, 0.9)), "  P99 ", Duration(Quantile(t.seconds, 0.99)), "  min ",
        Duration(t.seconds.front()), "  mean ", Duration(t.mean), "  (", t.seconds.size(),
        " runs)\n");
  Print("throughput  ", HumanCount(1 / t.mean), " runs/s, ",
        HumanCount(static_cast<double>(r.samples) / t.mean), " samples/s\n");
  if (r.profile.multiply_adds() > 0) {
    Print("arithmetic  ", HumanCount(r.profile.multiply_adds()), " multiply-adds, ",
          absl::StrFormat("%.1f GFLOP/s", 2e-9 * r.rate()),
          r.peak > 0 ? absl::StrFormat(
                           ", %.0f %% of the %.0f that a product of 1024 x 1024 matrices "
                           "reaches here in %s",
                           100 * r.share_of_peak(), 2e-9 * r.peak, flags.Get("precision", "f32"))
                     : "",
          "\n");
  }
  const PlannedMemory memory = MemoryOf(*r.plan);
  Print("memory      ", HumanBytes(memory.total()), " planned (", HumanBytes(memory.arena),
        " arena, ", HumanBytes(memory.constants), " constants, ", HumanBytes(memory.states),
        " states, ", HumanBytes(memory.outputs), " outputs), ", HumanBytes(r.memory),
        " peak of the process\n");
  Print("\n", r.profile.OperatorTable(flags.On("profile") ? 0 : 8));
  if (flags.On("profile")) Print("\n", r.profile.ToString(0));
}

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const int64_t runs, flags.Int("runs", 0, 1));
  GR_ASSIGN_OR_RETURN(const int64_t warmup, flags.Int("warmup", 3, 0));
  GR_ASSIGN_OR_RETURN(const double time, flags.Number("time", 2));
  GR_ASSIGN_OR_RETURN(const SessionOptions options, ReadSession(flags));
  const auto begin = Clock::now();
  GR_ASSIGN_OR_RETURN(MeasuredModel model, OpenMeasured(flags));
  const double load = SecondsSince(begin) - model.input_seconds;
  Result result;
  auto timing = Measure(model, warmup, runs, time);
  if (!timing.ok()) return Annotate(timing.status(), flags.argument(0));
  result.timing = *std::move(timing);
  result.timing.load = load;
  result.samples = model.samples();
  std::vector<Type> types;
  for (const Datum& d : model.inputs) types.push_back(d.type());
  GR_ASSIGN_OR_RETURN(result.plan, model.session->Prepare(types));
  const auto seen = static_cast<int64_t>(result.timing.seconds.size());
  GR_ASSIGN_OR_RETURN(result.profile, ProfileRuns(model, std::clamp<int64_t>(seen, 1, 20), 0));
  result.memory = PeakMemory();
  if (runs == 0 && result.profile.multiply_adds() > 0) {
    GR_ASSIGN_OR_RETURN(result.peak, PeakMultiplyAdds(*model.registry, options));
  }
  flags.On("json") ? ReportJson(flags, result) : Report(flags, result);
  return absl::OkStatus();
}

}  // namespace

Verb BenchVerb() {
  Verb verb{
      "bench",
      "MODEL.onnx",
      "measures latency, throughput and memory of a run or of a training step",
      "Inputs that are not given are random. --train measures forward, backward and update in\n"
      "one graph. With --runs N nothing but those runs is timed, and the machine's peak is left\n"
      "out. Arithmetic is counted as for direct sums: convolutions by Winograd's algorithm need\n"
      "less and can stand above the peak.",
      "graphrun bench model.onnx --batch 8\n"
      "graphrun bench model.onnx --train --batch 64 --optimizer adam --profile\n"
      "graphrun bench model.onnx --threads 1 --runs 1000 --json",
      {{"runs", "N", "measure so many runs, instead of --time"},
       {"time", "SECONDS", "measure for so long (2)"},
       {"warmup", "N", "runs before measuring (3)"},
       {"profile", "", "time of every step"}},
      1,
      1,
      Run};
  for (const FlagSpec& f : MeasureFlags()) verb.flags.push_back(f);
  verb.flags.push_back({"json", "", "print as JSON"});
  return verb;
}

}  // namespace graphrun::cli
