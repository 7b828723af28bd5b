#include <chrono>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/data/npy_write.h"
#include "runtime/onnx/datum_file.h"
#include "runtime/onnx/import.h"
#include "runtime/report/json.h"
#include "tools/model_inputs.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

struct Statistics {
  double min = INFINITY, max = -INFINITY, mean = 0;
  int64_t not_finite = 0;
};

Statistics Summarize(const Tensor& t) {
  Statistics s;
  int64_t finite = 0;
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    const double x = t.AsDouble(i);
    if (!std::isfinite(x)) {
      ++s.not_finite;
      continue;
    }
    s.min = std::min(s.min, x);
    s.max = std::max(s.max, x);
    s.mean += x;
    ++finite;
  }
  s.mean = finite > 0 ? s.mean / static_cast<double>(finite) : NAN;
  return s;
}

std::string KeyText(const Datum& map, size_t i) {
  const auto at = static_cast<int64_t>(i);
  return map.keys.dtype() == DType::kString ? map.keys.data<std::string>()[at]
                                            : absl::StrCat(map.keys.AsInt64s()[i]);
}

// A map of numbers or strings in one line: {cat: 0.9, dog: 0.1}
bool ShowFlatMap(const std::string& name, const Datum& map, int64_t elements) {
  const size_t n = std::min(map.items.size(), static_cast<size_t>(elements));
  std::string text;
  for (size_t i = 0; i < n; ++i) {
    const Tensor& value = map.items[i].tensor;
    if (!map.items[i].is_tensor() || value.num_elements() != 1) return false;
    absl::StrAppend(&text, i == 0 ? "" : ", ", KeyText(map, i), ": ");
    if (value.dtype() == DType::kString) {
      absl::StrAppend(&text, value.data<std::string>()[0]);
    } else {
      absl::StrAppend(&text, value.AsDouble(0));
    }
  }
  Print(name, "  {", text, n < map.items.size() ? ", ..." : "", "}\n");
  return true;
}

void Show(const std::string& name, const Datum& datum, int64_t elements) {
  const bool map = datum.kind == Type::Kind::kMap;
  if (map && ShowFlatMap(name, datum, elements)) return;
  if (!datum.is_tensor()) {
    Print(name, "  ", datum.type().ToString(), ", ", datum.items.size(), " items\n");
    for (size_t i = 0; i < datum.items.size() && static_cast<int64_t>(i) < elements; ++i)
      Show(absl::StrCat("  [", map ? KeyText(datum, i) : absl::StrCat(i), "]"), datum.items[i],
           elements);
    return;
  }
  Print(name, "  ", datum.tensor.ToString(elements), "\n");
  const DType dtype = datum.tensor.dtype();
  if (datum.tensor.num_elements() > elements && (IsFloat(dtype) || IsInteger(dtype))) {
    const Statistics s = Summarize(datum.tensor);
    Print(absl::StrFormat("  min %g  max %g  mean %g", s.min, s.max, s.mean));
    if (s.not_finite > 0) Print("  not finite: ", s.not_finite);
    Print("\n");
  }
}

void ToJson(const Datum& datum, JsonWriter* json) {
  json->BeginObject().Field("type", datum.type().ToString());
  if (!datum.is_tensor()) {
    if (datum.kind == Type::Kind::kMap) {
      json->Key("keys").BeginArray();
      for (size_t i = 0; i < datum.items.size(); ++i) json->String(KeyText(datum, i));
      json->EndArray();
    }
    json->Key("items").BeginArray();
    for (const Datum& item : datum.items) ToJson(item, json);
    json->EndArray().EndObject();
    return;
  }
  const Tensor& t = datum.tensor;
  json->Field("dims", t.dims()).Key("values").BeginArray();
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    if (t.dtype() == DType::kString) {
      json->String(t.data<std::string>()[i]);
    } else if (t.dtype() == DType::kInt64) {
      json->Int(t.data<int64_t>()[i]);
    } else {
      json->Number(t.AsDouble(i));
    }
  }
  json->EndArray().EndObject();
}

absl::Status Write(const std::string& path, const Session& session) {
  std::vector<std::pair<std::string, Tensor>> arrays;
  for (int i = 0; i < session.num_outputs(); ++i) {
    if (session.output(i).is_tensor()) {
      arrays.emplace_back(session.graph().outputs()[static_cast<size_t>(i)]->name(),
                          session.output(i).tensor);
    }
  }
  if (absl::EndsWith(path, ".npz")) {
    if (arrays.size() < static_cast<size_t>(session.num_outputs())) {
      return UsageError(path,
                        ": sequences and other containers do not fit into npz; write .pb files");
    }
    return WriteNpz(path, arrays);
  }
  if (session.num_outputs() != 1) {
    return UsageError(path, ": the model has ", session.num_outputs(),
                      " outputs; write an .npz file");
  }
  if (absl::EndsWith(path, ".pb")) {
    GR_ASSIGN_OR_RETURN(const std::string bytes,
                        DatumToBytes(session.output(0), session.graph().outputs()[0]->name()));
    return WriteFileAtomic(path, bytes);
  }
  if (!absl::EndsWith(path, ".npy") || arrays.size() != 1) {
    return UsageError(path, ": outputs are written as .npz, .npy or .pb");
  }
  GR_ASSIGN_OR_RETURN(const std::string bytes, NpyBytes(arrays[0].second));
  return WriteFileAtomic(path, bytes);
}

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const SessionOptions options, ReadSession(flags));
  GR_ASSIGN_OR_RETURN(const int64_t elements, flags.Int("elements", 16, 0));
  GR_ASSIGN_OR_RETURN(std::shared_ptr<const Graph> graph, ImportOnnx(flags.argument(0)));
  GR_ASSIGN_OR_RETURN(const std::vector<Datum> inputs, ReadInputs(*graph, flags, false));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                      Session::Create(graph, registry.get(), options));
  GR_ASSIGN_OR_RETURN(const int64_t seed, flags.Int("seed", 1, 0));
  session->set_seed(static_cast<uint64_t>(seed));
  GR_RETURN_IF_ERROR(Annotate(session->Run(absl::Span<const Datum>(inputs)), flags.argument(0)));
  if (flags.Has("output")) GR_RETURN_IF_ERROR(Write(flags.Get("output"), *session));
  if (flags.On("json")) {
    JsonWriter json(0, JsonWriter::NonFinite::kString);
    json.BeginObject();
    for (int i = 0; i < session->num_outputs(); ++i) {
      json.Key(graph->outputs()[static_cast<size_t>(i)]->name());
      ToJson(session->output(i), &json);
    }
    PrintText(json.EndObject().Finish() + "\n");
  } else {
    for (int i = 0; i < session->num_outputs(); ++i)
      Show(graph->outputs()[static_cast<size_t>(i)]->name(), session->output(i), elements);
  }
  return absl::OkStatus();
}

}  // namespace

Verb RunVerb() {
  Verb verb{"run",
            "MODEL.onnx",
            "executes a model",
            "",
            "graphrun run model.onnx --random\n"
            "graphrun run model.onnx --input x=image.npy -o result.npz\n"
            "graphrun run model.onnx --random --shape x=8,3,224,224 --threads 1\n"
            "graphrun run add.onnx --input a=1,2,3 --input b=4,5,6 --json",
            InputFlags(),
            1,
            1,
            Run};
  verb.flags.push_back(
      {"output", "FILE", "write the outputs: .npz, or .npy or .pb for one", false, 'o'});
  verb.flags.push_back({"elements", "N", "print so many elements of each output (16)"});
  for (const FlagSpec& f : SessionFlags()) verb.flags.push_back(f);
  verb.flags.push_back({"json", "", "print the outputs as JSON"});
  return verb;
}

}  // namespace graphrun::cli
