#include <cmath>

#include "absl/strings/str_format.h"
#include "runtime/base/all_close.h"
#include "runtime/base/status.h"
#include "runtime/onnx/import.h"
#include "runtime/report/json.h"
#include "tools/model_inputs.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

double LargestDifference(const Datum& a, const Datum& b) {
  if (!a.is_tensor() || !b.is_tensor() || a.tensor.dims() != b.tensor.dims() ||
      a.tensor.dtype() == DType::kString || b.tensor.dtype() == DType::kString) {
    return NAN;
  }
  double most = 0;
  for (int64_t i = 0; i < a.tensor.num_elements(); ++i) {
    const double x = a.tensor.AsDouble(i), y = b.tensor.AsDouble(i);
    if (!(std::isnan(x) && std::isnan(y)) && x != y) most = std::max(most, std::fabs(x - y));
  }
  return most;
}

absl::Status Run(const Flags& flags) {
  Tolerance tolerance;
  GR_ASSIGN_OR_RETURN(tolerance.rtol, flags.Number("rtol", 1e-4));
  GR_ASSIGN_OR_RETURN(tolerance.atol, flags.Number("atol", 1e-6));
  GR_ASSIGN_OR_RETURN(const SessionOptions options, ReadSession(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  std::shared_ptr<const Graph> graphs[2];
  std::unique_ptr<Session> sessions[2];
  std::vector<Datum> inputs;
  for (size_t m = 0; m < 2; ++m) {
    const std::string& path = flags.argument(m);
    GR_ASSIGN_OR_RETURN(graphs[m], ImportOnnx(path));
    if (m == 0) {
      GR_ASSIGN_OR_RETURN(inputs, ReadInputs(*graphs[0], flags, true));
    } else if (graphs[1]->inputs().size() != graphs[0]->inputs().size() ||
               graphs[1]->outputs().size() != graphs[0]->outputs().size()) {
      return ModelError(path, ": has ", graphs[1]->inputs().size(), " inputs and ",
                        graphs[1]->outputs().size(), " outputs, but ", flags.argument(0), " has ",
                        graphs[0]->inputs().size(), " and ", graphs[0]->outputs().size());
    }
    GR_ASSIGN_OR_RETURN(sessions[m], Session::Create(graphs[m], registry.get(), options));
    GR_RETURN_IF_ERROR(Annotate(sessions[m]->Run(absl::Span<const Datum>(inputs)), path));
  }
  int different = 0;
  JsonWriter json(2);
  json.BeginArray();
  for (int i = 0; i < sessions[0]->num_outputs(); ++i) {
    const std::string& name = graphs[0]->outputs()[static_cast<size_t>(i)]->name();
    const Datum &a = sessions[0]->output(i), &b = sessions[1]->output(i);
    const absl::Status same = AllClose(b, a, tolerance);
    different += !same.ok();
    const double most = LargestDifference(a, b);
    json.BeginObject()
        .Field("output", name)
        .Field("same", same.ok())
        .Field("largest_difference", most);
    json.Field("message", std::string(same.message())).EndObject();
    if (flags.On("json")) continue;
    Print(same.ok() ? "same    " : "DIFFERS ", name, " ", a.type().ToString(),
          absl::StrFormat("  largest difference %.3g", most), "\n");
    if (!same.ok()) Print("        ", std::string(same.message()), "\n");
    if (flags.On("show") && a.is_tensor() && b.is_tensor()) {
      Print("  A ", a.tensor.ToString(8), "\n  B ", b.tensor.ToString(8), "\n");
    }
  }
  json.EndArray();
  if (flags.On("json")) PrintText(json.Finish() + "\n");
  if (different == 0) return absl::OkStatus();
  return MakeError(ErrorKind::kNumeric,
                   absl::StrCat(different, " of ", sessions[0]->num_outputs(), " outputs differ"));
}

}  // namespace

Verb CompareVerb() {
  Verb verb{"compare",
            "A.onnx B.onnx",
            "runs two models on the same inputs and compares their outputs",
            "Inputs that are not given are random. Different outputs make the exit code 8.",
            "graphrun compare before.onnx after.onnx\n"
            "graphrun compare a.onnx b.onnx --input x=sample.npy --show",
            {{"rtol", "X", "relative tolerance (1e-4)"},
             {"atol", "X", "absolute tolerance (1e-6)"},
             {"show", "", "print the outputs"}},
            2,
            2,
            Run};
  for (const FlagSpec& f : InputFlags()) verb.flags.push_back(f);
  for (const FlagSpec& f : SessionFlags()) verb.flags.push_back(f);
  verb.flags.push_back({"json", "", "print as JSON"});
  return verb;
}

}  // namespace graphrun::cli
