#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_format.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/ir/text.h"
#include "runtime/onnx/import.h"
#include "runtime/report/json.h"
#include "tools/output.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

std::string OpName(const Node& node) {
  return node.domain().empty() ? node.op_type() : absl::StrCat(node.domain(), ".", node.op_type());
}

void CountOps(const Graph& graph, std::map<std::string, int>* counts) {
  for (const auto& node : graph.nodes()) {
    ++(*counts)[OpName(*node)];
    for (const auto& [name, attr] : node->attrs()) {
      if (const auto* nested = attr.get<Attr::GraphPtr>()) CountOps(**nested, counts);
      if (const auto* list = attr.get<std::vector<Attr::GraphPtr>>())
        for (const Attr::GraphPtr& g : *list) CountOps(*g, counts);
    }
  }
}

struct Contents {
  std::map<std::string, int> ops;
  int64_t parameters = 0, bytes = 0, tensors = 0;
};

Contents Examine(const Graph& graph) {
  Contents c;
  CountOps(graph, &c.ops);
  for (const Value* v : graph.initializers()) {
    ++c.tensors;
    c.bytes += v->initializer().byte_size();
    if (IsFloat(v->dtype())) c.parameters += v->initializer().num_elements();
  }
  return c;
}

std::string Opsets(const Graph& graph) {
  std::string out;
  for (const auto& [domain, version] : graph.opset_imports)
    absl::StrAppend(&out, out.empty() ? "" : ", ", domain.empty() ? "ai.onnx" : domain, " ",
                    version);
  return out;
}

void PrintRow(absl::string_view name, absl::string_view text) {
  if (!text.empty()) Print(absl::StrFormat("%-12s %s\n", name, text));
}

void PrintValues(absl::string_view title, const std::vector<Value*>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    PrintRow(i == 0 ? title : "",
             absl::StrCat(values[i]->name(), "  ", values[i]->type().ToString(),
                          values[i]->is_initializer() ? "  (has a default)" : ""));
  }
}

void PrintSummary(const std::string& path, const Graph& graph, const NamedModel& model) {
  const Contents c = Examine(graph);
  PrintRow("file", path);
  if (const auto size = FileSize(path); size.ok()) PrintRow("size", HumanBytes(*size));
  PrintRow("graph", graph.name);
  PrintRow("made by", absl::StrCat(graph.producer_name, graph.producer_version.empty() ? "" : " ",
                                   graph.producer_version));
  PrintRow("IR version", absl::StrCat(graph.ir_version));
  PrintRow("operators", Opsets(graph));
  PrintRow("description", graph.doc);
  for (const auto& [key, value] : graph.metadata)
    PrintRow("metadata", absl::StrCat(key, " = ", value));
  PrintValues("inputs", graph.inputs());
  PrintValues("outputs", graph.outputs());
  PrintRow("weights", absl::StrCat(HumanCount(static_cast<double>(c.parameters)), " parameters in ",
                                   c.tensors, " tensors, ", HumanBytes(c.bytes)));
  if (!graph.functions.empty()) PrintRow("functions", absl::StrCat(graph.functions.size()));
  if (!model.training.empty()) {
    size_t updates = 0;
    for (const NamedTraining& t : model.training) updates += t.updates.size();
    PrintRow("training", absl::StrCat("TrainingInfoProto with ", updates, " updates"));
  }
  PrintRow("nodes", absl::StrCat(graph.num_nodes()));
  std::vector<std::pair<int, std::string>> sorted;
  for (const auto& [op, n] : c.ops) sorted.emplace_back(-n, op);
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [n, op] : sorted) Print(absl::StrFormat("%12d %s\n", -n, op));
}

void WriteValues(const std::vector<Value*>& values, JsonWriter* json) {
  json->BeginArray();
  for (const Value* v : values) {
    json->BeginObject().Field("name", v->name()).Field("type", v->type().ToString()).EndObject();
  }
  json->EndArray();
}

std::string Json(const std::string& path, const Graph& graph, const NamedModel& model) {
  const Contents c = Examine(graph);
  JsonWriter json(2);
  json.BeginObject().Field("file", path).Field("graph", graph.name);
  json.Field("producer", graph.producer_name).Field("producer_version", graph.producer_version);
  json.Field("ir_version", graph.ir_version).Key("opsets").BeginObject();
  for (const auto& [domain, version] : graph.opset_imports) json.Field(domain, version);
  json.EndObject().Key("metadata").BeginObject();
  for (const auto& [key, value] : graph.metadata) json.Field(key, value);
  json.EndObject().Key("inputs");
  WriteValues(graph.inputs(), &json);
  json.Key("outputs");
  WriteValues(graph.outputs(), &json);
  json.Field("parameters", c.parameters).Field("weight_bytes", c.bytes);
  json.Field("training", !model.training.empty()).Field("nodes", graph.num_nodes());
  json.Key("operators").BeginObject();
  for (const auto& [op, n] : c.ops) json.Field(op, n);
  return json.EndObject().EndObject().Finish() + "\n";
}

absl::Status Run(const Flags& flags) {
  const std::string& path = flags.argument(0);
  GR_ASSIGN_OR_RETURN(const NamedModel model, ReadOnnx(path));
  if (flags.On("text")) {
    PrintOptions options;
    GR_ASSIGN_OR_RETURN(options.max_elements, flags.Int("elements", 8, -1));
    PrintText(PrintModel(model, options));
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, ResolveNames(model));
  if (flags.On("json")) {
    PrintText(Json(path, *graph, model));
    return absl::OkStatus();
  }
  PrintSummary(path, *graph, model);
  if (flags.On("nodes")) {
    Print("\n");
    for (const auto& node : graph->nodes()) Print(PrintNode(*node), "\n");
  }
  if (flags.On("weights")) {
    Print("\n");
    for (const Value* v : graph->initializers())
      Print(absl::StrFormat("%-40s %s\n", v->name(), v->initializer().type().ToString()));
  }
  return absl::OkStatus();
}

}  // namespace

Verb InspectVerb() {
  return {"inspect",
          "MODEL.onnx",
          "prints what a model holds: inputs, outputs, weights, operators",
          "",
          "graphrun inspect model.onnx\n"
          "graphrun inspect model.onnx --nodes --weights\n"
          "graphrun inspect model.onnx --text --elements 4",
          {{"nodes", "", "list the nodes"},
           {"weights", "", "list the initializers"},
           {"text", "", "print the whole model in ONNX's text syntax"},
           {"elements", "N", "with --text: elements shown of each tensor (8; -1: all)"},
           {"json", "", "print the summary as JSON"}},
          1,
          1,
          Run};
}

}  // namespace graphrun::cli
