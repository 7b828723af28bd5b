// Verbs that read a model, change it and write it.

#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/onnx/convert_opset.h"
#include "runtime/onnx/import.h"
#include "runtime/op/infer.h"
#include "runtime/passes/pass.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/verbs.h"
#include "tools/write_model.h"

namespace graphrun::cli {
namespace {

const FlagSpec kOutput = {"output", "FILE", "where to write the model", false, 'o'};

absl::Status Optimize(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, ImportOnnx(flags.argument(0)));
  const size_t before = graph->num_nodes();
  for (Value* v : graph->initializers())
    if (v->is_graph_input() && flags.On("fix-defaults")) graph->HideInput(v);
  GR_RETURN_IF_ERROR(Annotate(InlineFunctions(*graph, *registry).status(), flags.argument(0)));
  GR_RETURN_IF_ERROR(Annotate(Specialize(*graph, *registry).status(), flags.argument(0)));
  GR_RETURN_IF_ERROR(StandardPipeline(*registry, false).Run(*graph, *registry));
  Print(before, " nodes before\n");
  return WriteModel(graph.get(), *registry, flags);
}

absl::Status ConvertVersion(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const int64_t version, flags.Int("to", 0, 1, 1000));
  if (version == 0) return UsageError("--to N says which version of the operator set");
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, ImportOnnx(flags.argument(0)));
  GR_RETURN_IF_ERROR(Annotate(InlineFunctions(*graph, *registry).status(), flags.argument(0)));
  auto converted = ConvertOpset(*graph, *registry, static_cast<int>(version));
  if (!converted.ok()) return Annotate(converted.status(), flags.argument(0));
  return WriteModel(converted->get(), *registry, flags);
}

absl::StatusOr<Value*> Named(const Graph& graph, const std::string& name, absl::string_view flag) {
  Value* value = graph.FindValue(name);
  if (value != nullptr) return value;
  std::vector<std::string> names;
  for (const auto& v : graph.values()) names.push_back(v->name());
  return UsageError("--", flag, ": the model has no value \"", name, "\".",
                    DidYouMean(name, names));
}

absl::StatusOr<std::vector<Value*>> NamedList(const Graph& graph, const Flags& flags,
                                              absl::string_view flag) {
  std::vector<Value*> values;
  for (const std::string& text : flags.All(flag)) {
    for (absl::string_view name : absl::StrSplit(text, ',', absl::SkipEmpty())) {
      GR_ASSIGN_OR_RETURN(Value * v, Named(graph, std::string(name), flag));
      values.push_back(v);
    }
  }
  return values;
}

absl::Status Extract(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, ImportOnnx(flags.argument(0)));
  GR_RETURN_IF_ERROR(Annotate(InlineFunctions(*graph, *registry).status(), flags.argument(0)));
  GR_RETURN_IF_ERROR(Annotate(InferTypes(*graph, *registry), flags.argument(0)));
  GR_ASSIGN_OR_RETURN(const std::vector<Value*> from, NamedList(*graph, flags, "from"));
  GR_ASSIGN_OR_RETURN(const std::vector<Value*> to, NamedList(*graph, flags, "to"));
  if (from.empty() && to.empty())
    return UsageError("--from and --to name the values where the part begins and ends");
  if (!to.empty()) {
    while (!graph->outputs().empty())
      graph->RemoveOutput(static_cast<int>(graph->outputs().size()) - 1);
    for (Value* v : to) graph->AddOutput(v);
  }
  for (Value* v : from) {
    if (v->is_graph_input()) continue;
    const std::string name = v->name();
    Value* input = graph->AddInput("", v->type());
    graph->ReplaceAllUses(v, input);
    graph->Rename(v, graph->UniqueName(name));
    graph->Rename(input, name);
  }
  GR_RETURN_IF_ERROR(graph->Sort());
  GR_RETURN_IF_ERROR(RemoveDeadCode(*graph, *registry).status());
  // Inputs that the part does not read.
  std::vector<Value*> unused;
  for (Value* v : graph->inputs())
    if (graph->IsUnused(v)) unused.push_back(v);
  std::vector<std::string> needless;
  for (Value* v : unused) {
    needless.push_back(v->name());
    graph->RemoveInput(v);
  }
  if (!needless.empty())
    Print("left out inputs that the part does not read: ", absl::StrJoin(needless, ", "), "\n");
  return WriteModel(graph.get(), *registry, flags);
}

absl::Status SetShape(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, ImportOnnx(flags.argument(0)));
  if (flags.All("shape").empty())
    return UsageError("--shape NAME=D,D says which input gets which sizes");
  for (const std::string& text : flags.All("shape")) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) return UsageError("--shape \"", text, "\": write NAME=D,D");
    GR_ASSIGN_OR_RETURN(Value * v, Named(*graph, text.substr(0, equals), "shape"));
    if (!v->is_graph_input() || !v->type().is_tensor()) {
      return UsageError("--shape: \"", v->name(), "\" is no tensor input of the model");
    }
    Shape shape = Shape::Scalar();
    const std::string sizes = text.substr(equals + 1);
    for (absl::string_view part : absl::StrSplit(sizes, ',', absl::SkipEmpty())) {
      int64_t d;
      if (part == "?") {
        shape.Append(Dim());
      } else if (absl::SimpleAtoi(part, &d)) {
        if (d < 0) return UsageError("--shape \"", text, "\": ", d, " is no size");
        shape.Append(Dim(d));
      } else {
        shape.Append(Dim::Symbol(std::string(part)));
      }
    }
    v->set_type(Type::Tensor(v->dtype(), shape));
  }
  // What the model said of values behind the inputs no longer holds.
  for (const auto& node : graph->nodes())
    for (Value* v : node->outputs())
      if (v != nullptr) v->set_type(Type());
  return WriteModel(graph.get(), *registry, flags);
}

}  // namespace

Verb OptimizeVerb() {
  return {"optimize",
          "MODEL.onnx",
          "writes a simpler model: constants folded, nodes without effect or use gone",
          "Only operators of the model's own sets are used. Fusion into kernels happens when a "
          "model is planned.",
          "graphrun optimize model.onnx -o simple.onnx",
          {kOutput, {"fix-defaults", "", "inputs that have defaults become constants"}},
          1,
          1,
          Optimize};
}

Verb ConvertOpsetVerb() {
  return {"convert-opset",
          "MODEL.onnx",
          "writes the model at another version of ONNX's operator set",
          "",
          "graphrun convert-opset model.onnx --to 21 -o model21.onnx",
          {kOutput, {"to", "N", "the version"}},
          1,
          1,
          ConvertVersion};
}

Verb ExtractVerb() {
  return {"extract",
          "MODEL.onnx",
          "writes the part of a model between named values",
          "",
          "graphrun extract model.onnx --to features -o backbone.onnx\n"
          "graphrun extract model.onnx --from features --to scores -o head.onnx",
          {kOutput,
           {"from", "NAMES", "values that become inputs", true},
           {"to", "NAMES", "values that become the outputs", true}},
          1,
          1,
          Extract};
}

Verb SetShapeVerb() {
  return {"set-shape",
          "MODEL.onnx",
          "writes the model with other sizes of its inputs",
          "A size is a number, a name (the same size wherever it occurs), or ?.",
          "graphrun set-shape model.onnx --shape x=N,3,224,224 -o batched.onnx\n"
          "graphrun set-shape model.onnx --shape x=1,3,224,224 -o fixed.onnx",
          {kOutput, {"shape", "NAME=D,D", "the sizes of an input", true}},
          1,
          1,
          SetShape};
}

}  // namespace graphrun::cli
