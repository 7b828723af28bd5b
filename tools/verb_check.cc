#include "runtime/base/status.h"
#include "runtime/ir/verify.h"
#include "runtime/onnx/import.h"
#include "runtime/op/infer.h"
#include "runtime/passes/pass.h"
#include "runtime/report/json.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

struct Finding {
  bool is_error;
  std::string text;
};

// Everything that can be said of a graph without running it, errors first found last.
void Examine(Graph* graph, const OpRegistry& registry, std::vector<Finding>* findings) {
  if (const absl::Status s = Verify(*graph); !s.ok()) {
    findings->push_back({true, std::string(s.message())});
    return;
  }
  if (const auto inlined = InlineFunctions(*graph, registry); !inlined.ok()) {
    findings->push_back({true, std::string(inlined.status().message())});
    return;
  }
  bool known = true;
  for (const auto& node : graph->nodes()) {
    const auto def = registry.Resolve(*node);
    if (def.ok()) continue;
    known = false;
    findings->push_back({true, std::string(def.status().message())});
  }
  if (known) {
    if (const absl::Status s = InferTypes(*graph, registry); !s.ok())
      findings->push_back({true, std::string(s.message())});
  }
  for (const Value* v : graph->initializers()) {
    if (graph->IsUnused(v) && !v->is_graph_input())
      findings->push_back({false, absl::StrCat("initializer \"", v->name(), "\" is not used")});
  }
  for (const auto& node : graph->nodes()) {
    bool used = false;
    for (const Value* v : node->outputs()) used = used || (v != nullptr && !graph->IsUnused(v));
    if (!used) findings->push_back({false, absl::StrCat(node->Describe(), ": no output is used")});
  }
}

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  const bool json = flags.On("json");
  JsonWriter w(2);
  w.BeginArray();
  int bad = 0;
  for (const std::string& path : flags.arguments()) {
    std::vector<Finding> findings;
    auto graph = ImportOnnx(path);
    if (graph.ok()) {
      Examine(graph->get(), *registry, &findings);
    } else if (KindOf(graph.status()) == ErrorKind::kIo) {
      return graph.status();
    } else {
      findings.push_back({true, std::string(graph.status().message())});
    }
    int errors = 0;
    w.BeginObject().Field("file", path).Key("findings").BeginArray();
    for (const Finding& f : findings) {
      errors += f.is_error ? 1 : 0;
      w.BeginObject().Field("severity", f.is_error ? "error" : "warning").Field("message", f.text);
      w.EndObject();
      if (!json) Print(path, ": ", f.is_error ? "error: " : "warning: ", f.text, "\n");
    }
    w.EndArray().Field("ok", errors == 0).EndObject();
    if (!json && errors == 0) Print(path, ": ok, ", (*graph)->num_nodes(), " nodes\n");
    bad += errors > 0 ? 1 : 0;
  }
  w.EndArray();
  if (json) PrintText(w.Finish() + "\n");
  if (bad == 0) return absl::OkStatus();
  return ModelError(bad, " of ", flags.arguments().size(), bad == 1 ? " model has" : " models have",
                    " errors");
}

}  // namespace

Verb CheckVerb() {
  return {"check",
          "MODEL.onnx...",
          "says what is wrong with models: form, operators, types and shapes",
          "Warnings (weights and nodes without use) leave the exit code 0; errors make it 3.",
          "graphrun check model.onnx\n"
          "graphrun check *.onnx --json",
          {{"json", "", "print the findings as JSON"}},
          1,
          -1,
          Run};
}

}  // namespace graphrun::cli
