#include "absl/strings/str_format.h"
#include "runtime/autodiff/gradients.h"
#include "runtime/base/status.h"
#include "runtime/onnx/import.h"
#include "runtime/op/infer.h"
#include "runtime/passes/pass.h"
#include "runtime/report/json.h"
#include "tools/output.h"
#include "tools/pattern.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

absl::StatusOr<std::vector<Value*>> Targets(const Graph& graph, const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const Pattern match, Pattern::Compile("match", flags.Get("match")));
  std::vector<Value*> targets;
  if (flags.On("inputs")) {
    for (Value* v : graph.inputs())
      if (IsFloat(v->dtype()) && match.Matches(v->name())) targets.push_back(v);
  } else {
    for (Value* v : graph.initializers())
      if (IsFloat(v->dtype()) && v->initializer().rank() >= 1 && match.Matches(v->name()))
        targets.push_back(v);
  }
  if (targets.empty()) {
    return UsageError("no float ", flags.On("inputs") ? "input" : "weight",
                      flags.Has("match") ? " matches" : " in the model",
                      flags.On("inputs") ? "" : "; --inputs asks for gradients of its inputs");
  }
  return targets;
}

absl::Status Run(const Flags& flags) {
  const std::string& path = flags.argument(0);
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, ImportOnnx(path));
  GR_RETURN_IF_ERROR(Annotate(InlineFunctions(*graph, *registry).status(), path));
  GR_RETURN_IF_ERROR(Annotate(InferTypes(*graph, *registry), path));
  GR_ASSIGN_OR_RETURN(const std::vector<Value*> targets, Targets(*graph, flags));
  if (graph->outputs().empty()) return ModelError(path, ": the model has no output");
  GradientCoverage coverage;
  for (const Value* output : graph->outputs()) {
    if (!IsFloat(output->dtype())) continue;
    const GradientCoverage one = CheckGradientCoverage(*graph, *registry, output, targets);
    for (const GradientCoverage::Row& row : one.rows) {
      bool seen = false;
      for (const GradientCoverage::Row& r : coverage.rows) seen = seen || r.node == row.node;
      if (!seen) coverage.rows.push_back(row);
    }
  }
  size_t good = 0;
  JsonWriter json(2);
  json.BeginObject().Key("nodes").BeginArray();
  for (const GradientCoverage::Row& row : coverage.rows) {
    good += row.differentiable ? 1 : 0;
    json.BeginObject().Field("node", row.node->name()).Field("op", row.node->op_type());
    json.Field("differentiable", row.differentiable).Field("how", row.how).EndObject();
    if (!flags.On("json") && (!row.differentiable || flags.On("all"))) {
      Print(absl::StrFormat("%-4s %s: %s\n", row.differentiable ? "yes" : "NO",
                            row.node->Describe(), row.how));
    }
  }
  const size_t total = coverage.rows.size();
  json.EndArray().Field("differentiable", good).Field("total", total).EndObject();
  if (flags.On("json")) {
    PrintText(json.Finish() + "\n");
  } else {
    Print(good, " of ", total, " nodes between ", targets.size(),
          flags.On("inputs") ? " inputs" : " weights", " and the outputs can be differentiated\n");
  }
  if (good == total) return absl::OkStatus();
  return ModelError(path, ": ", total - good, " nodes cannot be differentiated");
}

}  // namespace

Verb CoverageVerb() {
  return {"coverage",
          "MODEL.onnx",
          "says which nodes can be differentiated, and why the others cannot",
          "Looks at the nodes on the way from the weights to the float outputs.",
          "graphrun coverage model.onnx\n"
          "graphrun coverage model.onnx --all\n"
          "graphrun coverage model.onnx --inputs",
          {{"all", "", "list the differentiable nodes as well"},
           {"inputs", "", "gradients of the inputs instead of the weights"},
           {"match", "REGEX", "only weights of these names"},
           {"json", "", "print as JSON"}},
          1,
          1,
          Run};
}

}  // namespace graphrun::cli
