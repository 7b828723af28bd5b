#include <algorithm>

#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/report/json.h"
#include "runtime/train/chrome_trace.h"
#include "tools/measured_model.h"
#include "tools/output.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

// Calls that a trace holds at most: browsers become slow beyond.
constexpr size_t kMaxEvents = 200000;

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const int64_t runs, flags.Int("runs", 10, 1));
  GR_ASSIGN_OR_RETURN(const int64_t top, flags.Int("top", 20, 0));
  GR_ASSIGN_OR_RETURN(MeasuredModel model, OpenMeasured(flags));
  auto profile = ProfileRuns(model, runs, kMaxEvents);
  if (!profile.ok()) return Annotate(profile.status(), flags.argument(0));
  const std::string path = flags.Get("output", "profile.json");
  GR_RETURN_IF_ERROR(WriteFileAtomic(path, ChromeTrace(*profile, flags.argument(0))));
  if (flags.On("json")) {
    JsonWriter json(2);
    json.BeginObject().Field("model", flags.argument(0)).Field("trace", path);
    json.Field("runs", profile->runs);
    json.Field("seconds", profile->seconds / static_cast<double>(profile->runs));
    json.Key("steps").BeginArray();
    for (const Profile::Row& row : profile->rows) {
      json.BeginObject().Field("name", row.label).Field("op", row.op).Field("kernel", row.kernel);
      json.Field("info", row.info).Field("multiply_adds", row.multiply_adds);
      json.Field("seconds", row.seconds / static_cast<double>(std::max<int64_t>(row.calls, 1)));
      json.EndObject();
    }
    PrintText(json.EndArray().EndObject().Finish() + "\n");
    return absl::OkStatus();
  }
  Print(flags.argument(0), ": ", profile->rows.size(), " steps, ", profile->runs, " runs\n\n");
  Print("operators: share, time of a run, steps\n", profile->OperatorTable(0));
  Print("\nsteps", top > 0 ? absl::StrCat(", the longest ", top) : "", ": share, time of a call\n",
        profile->ToString(static_cast<size_t>(top)));
  Print("\nwritten to ", path, ": open it in chrome://tracing or ui.perfetto.dev\n");
  return absl::OkStatus();
}

}  // namespace

Verb ProfileVerb() {
  Verb verb{"profile",
            "MODEL.onnx",
            "times every step of a run or of a training step; writes a trace for browsers",
            "Inputs that are not given are random. The trace is in Chrome's trace-event format.",
            "graphrun profile model.onnx --batch 8 -o trace.json\n"
            "graphrun profile model.onnx --train --batch 64 --optimizer adam",
            {{"output", "FILE", "where the trace goes (profile.json)", false, 'o'},
             {"runs", "N", "runs to time, after a first one (10)"},
             {"top", "N", "so many steps in the table; 0: all (20)"}},
            1,
            1,
            Run};
  for (const FlagSpec& f : MeasureFlags()) verb.flags.push_back(f);
  verb.flags.push_back({"json", "", "print as JSON"});
  return verb;
}

}  // namespace graphrun::cli
