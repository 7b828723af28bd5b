#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "proto/recipe.pb.h"
#include "runtime/base/all_close.h"
#include "runtime/base/status.h"
#include "runtime/onnx/import.h"
#include "runtime/passes/mixed_precision.h"
#include "runtime/report/json.h"
#include "runtime/train/evaluation.h"
#include "tools/model_inputs.h"
#include "tools/output.h"
#include "tools/recipe_flags.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

struct Difference {
  double largest = NAN;     // |a - b|
  double relative = NAN;    // |a - b| over |a|, as vectors
  double same_class = NAN;  // share of rows whose largest element is the same one
};

Difference Measure(const Datum& a, const Datum& b) {
  Difference d;
  if (!a.is_tensor() || !b.is_tensor() || a.tensor.dims() != b.tensor.dims() ||
      a.tensor.dtype() == DType::kString || b.tensor.dtype() == DType::kString) {
    return d;
  }
  d.largest = 0;
  double error = 0, size = 0;
  for (int64_t i = 0; i < a.tensor.num_elements(); ++i) {
    const double x = a.tensor.AsDouble(i), y = b.tensor.AsDouble(i);
    if ((std::isnan(x) && std::isnan(y)) || x == y) {
      size += std::isfinite(x) ? x * x : 0;
      continue;
    }
    d.largest = std::max(d.largest, std::fabs(x - y));
    error += (x - y) * (x - y);
    size += x * x;
  }
  d.relative = error == 0 ? 0 : std::sqrt(error / size);
  const int64_t width = a.tensor.rank() < 2 ? 0 : a.tensor.dim(a.tensor.rank() - 1);
  if (width < 2 || !IsFloat(a.tensor.dtype())) return d;
  const int64_t rows = a.tensor.num_elements() / width;
  int64_t same = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const auto best = [&](const Tensor& t) {
      int64_t at = 0;
      for (int64_t c = 1; c < width; ++c)
        if (t.AsDouble(r * width + c) > t.AsDouble(r * width + at)) at = c;
      return at;
    };
    same += best(a.tensor) == best(b.tensor) ? 1 : 0;
  }
  if (rows > 0) d.same_class = static_cast<double>(same) / static_cast<double>(rows);
  return d;
}

// The two things that are compared: two models, or one in two precisions.
struct Side {
  std::string path;
  SessionOptions options;
  std::string Name(const Side& other) const {
    return path == other.path ? PrecisionName(options.precision) : path;
  }
};

absl::StatusOr<std::vector<Side>> Sides(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(SessionOptions options, ReadSession(flags));
  const bool one = flags.arguments().size() == 1;
  if (one && options.precision == DType::kFloat32) {
    return UsageError("one model is compared with itself: give a second one, or --precision bf16");
  }
  Side a{flags.argument(0), options}, b{flags.argument(one ? 0 : 1), options};
  a.options.precision = DType::kFloat32;
  return std::vector<Side>{a, b};
}

// Metrics of both sides on data with known answers.
absl::Status CompareOnData(const Flags& flags, const OpRegistry& registry,
                           const std::vector<Side>& sides, JsonWriter* json) {
  recipe::Recipe recipe;
  GR_RETURN_IF_ERROR(ApplyRecipeFlags(flags, &recipe));
  Evaluation evaluations[2];
  for (size_t m = 0; m < 2; ++m) {
    GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, ImportOnnx(sides[m].path));
    GR_ASSIGN_OR_RETURN(
        const std::unique_ptr<Predictor> predictor,
        Predictor::Create(*graph, registry, recipe, recipe.data().path(), true, sides[m].options));
    GR_ASSIGN_OR_RETURN(evaluations[m], EvaluateModel(predictor.get(), {}));
  }
  const std::string a = sides[0].Name(sides[1]), b = sides[1].Name(sides[0]);
  json->Key("metrics").BeginArray();
  if (!flags.On("json")) {
    Print(absl::StrFormat("%-18s %12s %12s %12s   on %d samples of %s\n", "metric", a, b,
                          "difference", evaluations[0].samples, recipe.data().path()));
  }
  for (size_t i = 0; i < evaluations[0].metrics.size(); ++i) {
    const auto& [name, x] = evaluations[0].metrics[i];
    const double y = evaluations[1].metrics[i].second;
    json->BeginObject().Field("name", name).Field("a", x).Field("b", y).EndObject();
    if (flags.On("json")) continue;
    Print(absl::StrFormat("%-18s %12.6g %12.6g %+12.3g\n", name, x, y, y - x));
  }
  json->EndArray();
  return absl::OkStatus();
}

// The outputs of both sides on the same inputs; how many differ by more than is allowed.
absl::StatusOr<int> CompareOutputs(const Flags& flags, const OpRegistry& registry,
                                   const std::vector<Side>& sides, JsonWriter* json) {
  Tolerance tolerance;
  GR_ASSIGN_OR_RETURN(tolerance.rtol, flags.Number("rtol", 1e-4));
  GR_ASSIGN_OR_RETURN(tolerance.atol, flags.Number("atol", 1e-6));
  // Another precision is meant to differ: it is judged by a tolerance that somebody gives.
  const bool judged =
      sides[1].options.precision == DType::kFloat32 || flags.Has("rtol") || flags.Has("atol");
  std::shared_ptr<const Graph> graphs[2];
  std::unique_ptr<Session> sessions[2];
  std::vector<Datum> inputs;
  for (size_t m = 0; m < 2; ++m) {
    const std::string& path = sides[m].path;
    GR_ASSIGN_OR_RETURN(graphs[m], ImportOnnx(path));
    if (m == 0) {
      GR_ASSIGN_OR_RETURN(inputs, ReadInputs(*graphs[0], flags, true));
    } else if (graphs[1]->inputs().size() != graphs[0]->inputs().size() ||
               graphs[1]->outputs().size() != graphs[0]->outputs().size()) {
      return ModelError(path, ": has ", graphs[1]->inputs().size(), " inputs and ",
                        graphs[1]->outputs().size(), " outputs, but ", sides[0].path, " has ",
                        graphs[0]->inputs().size(), " and ", graphs[0]->outputs().size());
    }
    GR_ASSIGN_OR_RETURN(sessions[m], Session::Create(graphs[m], &registry, sides[m].options));
    GR_RETURN_IF_ERROR(Annotate(sessions[m]->Run(absl::Span<const Datum>(inputs)), path));
  }
  int different = 0;
  json->Key("outputs").BeginArray();
  for (int i = 0; i < sessions[0]->num_outputs(); ++i) {
    const std::string& name = graphs[0]->outputs()[static_cast<size_t>(i)]->name();
    const Datum &a = sessions[0]->output(i), &b = sessions[1]->output(i);
    const absl::Status same = AllClose(b, a, tolerance);
    different += judged && !same.ok() ? 1 : 0;
    const Difference d = Measure(a, b);
    json->BeginObject().Field("output", name).Field("same", same.ok());
    json->Field("largest_difference", d.largest).Field("relative_error", d.relative);
    if (!std::isnan(d.same_class)) json->Field("same_class", d.same_class);
    json->Field("message", std::string(same.message())).EndObject();
    if (flags.On("json")) continue;
    Print(!judged     ? ""
          : same.ok() ? "same    "
                      : "DIFFERS ",
          name, " ", a.type().ToString(),
          absl::StrFormat("  largest difference %.3g, relative error %.3g", d.largest, d.relative),
          std::isnan(d.same_class)
              ? std::string()
              : absl::StrFormat(", same class in %.4g%% of rows", 100 * d.same_class),
          "\n");
    if (judged && !same.ok()) Print("        ", std::string(same.message()), "\n");
    if (flags.On("show") && a.is_tensor() && b.is_tensor()) {
      Print("  A ", a.tensor.ToString(8), "\n  B ", b.tensor.ToString(8), "\n");
    }
  }
  json->EndArray();
  return different;
}

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const std::vector<Side> sides, Sides(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  JsonWriter json(2);
  json.BeginObject();
  GR_ASSIGN_OR_RETURN(const int different, CompareOutputs(flags, *registry, sides, &json));
  if (flags.Has("data")) GR_RETURN_IF_ERROR(CompareOnData(flags, *registry, sides, &json));
  if (flags.On("json")) PrintText(json.EndObject().Finish() + "\n");
  if (different == 0) return absl::OkStatus();
  return MakeError(ErrorKind::kNumeric, absl::StrCat(different, " outputs differ"));
}

}  // namespace

Verb CompareVerb() {
  Verb verb{
      "compare",
      "A.onnx [B.onnx]",
      "runs two models, or one in f32 and bf16, on the same inputs and compares their outputs",
      "Inputs that are not given are random. Different outputs make the exit code 8; bf16 is "
      "judged only by\n"
      "--rtol and --atol. --data compares accuracy as well.",
      "graphrun compare before.onnx after.onnx\n"
      "graphrun compare a.onnx b.onnx --input x=sample.npy --show\n"
      "graphrun compare model.onnx --precision bf16 --data test.csv --target digit",
      {{"rtol", "X", "relative tolerance (1e-4)"},
       {"atol", "X", "absolute tolerance (1e-6)"},
       {"show", "", "print the outputs"}},
      1,
      2,
      Run};
  for (const FlagSpec& f : InputFlags()) verb.flags.push_back(f);
  for (const FlagSpec& f : SessionFlags()) verb.flags.push_back(f);
  for (const FlagSpec& f : DataFlags()) {
    const auto taken = [&](const FlagSpec& g) { return g.name == f.name; };
    if (std::none_of(verb.flags.begin(), verb.flags.end(), taken)) verb.flags.push_back(f);
  }
  verb.flags.push_back({"json", "", "print as JSON"});
  return verb;
}

}  // namespace graphrun::cli
