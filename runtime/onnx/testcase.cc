#include "runtime/onnx/testcase.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/onnx/datum_file.h"
#include "runtime/onnx/import.h"

namespace graphrun {
namespace {

// The text behind "key": in a flat JSON object, quotes removed; "" where there is none.
std::string JsonValue(const std::string& json, absl::string_view key) {
  size_t at = json.find(absl::StrCat("\"", key, "\""));
  if (at == std::string::npos) return "";
  at = json.find(':', at + key.size() + 2);
  if (at == std::string::npos) return "";
  at = json.find_first_not_of(" \t\r\n", at + 1);
  if (at == std::string::npos) return "";
  if (json[at] == '"') {
    const size_t end = json.find('"', at + 1);
    return end == std::string::npos ? "" : json.substr(at + 1, end - at - 1);
  }
  return json.substr(at, json.find_first_of(",} \t\r\n", at) - at);
}

absl::Status ReadTolerance(const std::string& json, absl::string_view key, double* tolerance) {
  const std::string text = JsonValue(json, key);
  if (text.empty() || (absl::SimpleAtod(text, tolerance) && *tolerance >= 0))
    return absl::OkStatus();
  return DataError("data.json: ", key, " is \"", text, "\", not a number of at least 0");
}

// Where data.json's url lies beside `folder` (ROOT/real/CASE): ROOT and what follows ".../data/".
std::string LightModel(const std::string& folder, const std::string& json) {
  const std::string url = JsonValue(json, "url");
  const size_t data = url.find("/data/");
  if (url.empty() || data == std::string::npos || absl::StrContains(url, "..")) return "";
  return JoinPath(JoinPath(folder, "../.."), url.substr(data + 6));
}

// As ReadDatum. Older suites keep the bits of bfloat16 as uint16.
absl::StatusOr<NamedDatum> ReadAs(const std::string& path, const Type& type) {
  GR_ASSIGN_OR_RETURN(NamedDatum d, ReadDatum(path, type));
  const Tensor& t = d.datum.tensor;
  if (d.datum.is_tensor() && type.is_tensor() && type.tensor.dtype == DType::kBFloat16 &&
      t.dtype() == DType::kUInt16) {
    d.datum.tensor =
        Tensor::View(DType::kBFloat16, t.dims(), const_cast<void*>(t.raw()), t.owner());
  }
  return d;
}

absl::StatusOr<TestDataSet> ReadDataSet(const std::string& folder, const Graph& graph) {
  TestDataSet set;
  set.name = BaseName(folder);
  std::vector<NamedDatum> inputs;
  for (size_t i = 0;; ++i) {
    const std::string path = JoinPath(folder, absl::StrCat("input_", i, ".pb"));
    if (!FileExists(path)) break;
    if (i >= graph.inputs().size()) {
      return DataError(path, ": the model has only ", graph.inputs().size(), " inputs");
    }
    GR_ASSIGN_OR_RETURN(NamedDatum d, ReadAs(path, graph.inputs()[i]->type()));
    inputs.push_back(std::move(d));
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const std::string path = JoinPath(folder, absl::StrCat("output_", i, ".pb"));
    if (!FileExists(path)) break;
    GR_ASSIGN_OR_RETURN(NamedDatum d, ReadAs(path, graph.outputs()[i]->type()));
    set.outputs.push_back(std::move(d.datum));
  }
  set.inputs.resize(graph.inputs().size());
  std::vector<size_t> places;
  for (const NamedDatum& d : inputs) {
    const auto it = std::find_if(graph.inputs().begin(), graph.inputs().end(),
                                 [&](const Value* v) { return v->name() == d.name; });
    const size_t place = static_cast<size_t>(it - graph.inputs().begin());
    if (it != graph.inputs().end() &&
        std::find(places.begin(), places.end(), place) == places.end())
      places.push_back(place);
  }
  const bool by_name = places.size() == inputs.size();
  for (size_t i = 0; i < inputs.size(); ++i)
    set.inputs[by_name ? places[i] : i] = std::move(inputs[i].datum);
  return set;
}

absl::StatusOr<TestDataSet> LightDataSet(const std::string& model_path, const Graph& graph) {
  TestDataSet set;
  set.name = "light";
  for (const Value* v : graph.inputs()) {
    GR_ASSIGN_OR_RETURN(Tensor t, LightInput(v->type()));
    set.inputs.emplace_back(std::move(t));
  }
  const std::string stem(absl::StripSuffix(model_path, ".onnx"));
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const std::string path = absl::StrCat(stem, "_output_", i, ".pb");
    if (!FileExists(path)) break;
    GR_ASSIGN_OR_RETURN(NamedDatum d, ReadAs(path, graph.outputs()[i]->type()));
    set.outputs.push_back(std::move(d.datum));
  }
  return set;
}

}  // namespace

absl::StatusOr<Tensor> LightInput(const Type& type) {
  if (!type.is_tensor() || type.tensor.dtype != DType::kFloat32 ||
      !type.tensor.shape.is_concrete()) {
    return DataError("an input by rule needs a type float32 of known sizes, not ", type.ToString());
  }
  GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(DType::kFloat32, type.tensor.shape.ToDims()));
  const int64_t n = t.num_elements();
  for (int64_t i = 0; i < n; ++i)
    t.mutable_data<float>()[i] = static_cast<float>(i) / static_cast<float>(n);
  return t;
}

bool IsTestCase(const std::string& folder) {
  if (FileExists(JoinPath(folder, "model.onnx"))) return true;
  const auto json = ReadFile(JoinPath(folder, "data.json"), 1 << 20);
  return json.ok() && FileExists(LightModel(folder, *json));
}

absl::StatusOr<TestCase> LoadTestCase(const std::string& folder) {
  TestCase test;
  test.name = BaseName(folder);
  test.model_path = JoinPath(folder, "model.onnx");
  std::string json;
  if (FileExists(JoinPath(folder, "data.json"))) {
    GR_ASSIGN_OR_RETURN(json, ReadFile(JoinPath(folder, "data.json"), 1 << 20));
  }
  const bool light = !FileExists(test.model_path) && !json.empty();
  if (light) test.model_path = LightModel(folder, json);
  if (!FileExists(test.model_path)) {
    return DataError(folder,
                     ": no model.onnx and no data.json that names a model: not a test case");
  }
  GR_RETURN_IF_ERROR(Annotate(ReadTolerance(json, "rtol", &test.rtol), folder));
  GR_RETURN_IF_ERROR(Annotate(ReadTolerance(json, "atol", &test.atol), folder));
  GR_ASSIGN_OR_RETURN(test.graph, ImportOnnx(test.model_path));
  if (light) {
    auto set = LightDataSet(test.model_path, *test.graph);
    if (!set.ok()) return Annotate(set.status(), folder);
    test.data_sets.push_back(*std::move(set));
    return test;
  }
  for (int i = 0;; ++i) {
    const std::string path = JoinPath(folder, absl::StrCat("test_data_set_", i));
    if (!IsFolder(path)) break;
    GR_ASSIGN_OR_RETURN(TestDataSet set, ReadDataSet(path, *test.graph));
    test.data_sets.push_back(std::move(set));
  }
  return test;
}

}  // namespace graphrun
