#include "absl/strings/str_format.h"
#include "runtime/base/status.h"
#include "runtime/onnx/import.h"
#include "runtime/report/json.h"
#include "runtime/train/gradcheck.h"
#include "tools/model_inputs.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

absl::Status Run(const Flags& flags) {
  const std::string& path = flags.argument(0);
  GradientCheckOptions options;
  options.inputs = flags.On("inputs");
  GR_ASSIGN_OR_RETURN(const int64_t directions, flags.Int("directions", 2, 1, 1000));
  options.directions = static_cast<int>(directions);
  GR_ASSIGN_OR_RETURN(options.step, flags.Number("step", options.step));
  GR_ASSIGN_OR_RETURN(const double tolerance, flags.Number("tolerance", 1e-5));
  GR_ASSIGN_OR_RETURN(const int64_t seed, flags.Int("seed", 1, 0));
  options.seed = static_cast<uint64_t>(seed);
  if (!(options.step > 0)) return UsageError("--step must be above 0");
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, ImportOnnx(path));
  GR_ASSIGN_OR_RETURN(const std::vector<Datum> inputs, ReadInputs(*graph, flags, true));
  const auto rows = CheckGradients(*graph, *registry, inputs, options);
  if (!rows.ok()) return Annotate(rows.status(), path);
  size_t good = 0;
  double worst = 0;
  JsonWriter json(2, JsonWriter::NonFinite::kString);
  json.BeginObject().Key("tensors").BeginArray();
  if (!flags.On("json"))
    Print(absl::StrFormat("%-40s %14s %14s  %s\n", "tensor", "analytic", "numeric", "error"));
  for (const GradientCheckRow& row : *rows) {
    const bool ok = !row.reaches || row.error <= tolerance;
    good += ok;
    worst = std::max(worst, row.error);
    json.BeginObject().Field("name", row.name).Field("reaches", row.reaches);
    json.Field("analytic", row.analytic)
        .Field("numeric", row.numeric)
        .Field("error", row.error)
        .Field("ok", ok);
    json.EndObject();
    if (flags.On("json")) continue;
    if (!row.reaches) {
      Print(absl::StrFormat("%-40s does not influence the outputs\n", row.name));
    } else {
      Print(absl::StrFormat("%-40s %14.8g %14.8g  %.1e%s\n", row.name, row.analytic, row.numeric,
                            row.error, ok ? "" : "  DIFFERS"));
    }
  }
  json.EndArray().Field("worst", worst).Field("ok", good == rows->size()).EndObject();
  if (flags.On("json")) {
    PrintText(json.Finish() + "\n");
  } else {
    Print(good, " of ", rows->size(), " tensors agree within ", tolerance, "; the worst error is ",
          absl::StrFormat("%.1e", worst), "\n");
  }
  if (good == rows->size()) return absl::OkStatus();
  return MakeError(
      ErrorKind::kNumeric,
      absl::StrCat(path, ": gradients of ", rows->size() - good,
                   " tensors differ from central differences (a kink of relu or max within the "
                   "step? try another --seed)"));
}

}  // namespace

Verb GradcheckVerb() {
  Verb verb{"gradcheck",
            "MODEL.onnx",
            "checks a whole model's gradients against central differences in float64",
            "Each weight is moved along random directions; the outputs' random sum is compared.",
            "graphrun gradcheck model.onnx\n"
            "graphrun gradcheck model.onnx --inputs --directions 5\n"
            "graphrun gradcheck model.onnx --input x=sample.npy --tolerance 1e-6",
            {{"inputs", "", "gradients of the inputs instead of the weights"},
             {"directions", "N", "for each tensor (2)"},
             {"step", "X", "of the differences (1e-6)"},
             {"tolerance", "X", "relative (1e-5)"}},
            1,
            1,
            Run};
  for (const FlagSpec& f : InputFlags()) verb.flags.push_back(f);
  verb.flags.push_back({"json", "", "print as JSON"});
  return verb;
}

}  // namespace graphrun::cli
