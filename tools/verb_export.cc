#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/onnx/export.h"
#include "runtime/onnx/import.h"
#include "runtime/onnx/standard.h"
#include "runtime/op/infer.h"
#include "runtime/train/training_graph.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/run_path.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

absl::Status Report(const std::string& path) {
  GR_ASSIGN_OR_RETURN(const int64_t size, FileSize(path));
  Print(path, ": ", HumanBytes(size), "\n");
  return absl::OkStatus();
}

// Each state becomes an input with its present value as default, and an output NAME/next.
absl::Status ExposeStates(Graph* graph) {
  const std::vector<StateUpdate> states = graph->states();
  const int opset = graph->opset_imports.count("") > 0 ? graph->opset_imports.at("") : 0;
  for (const StateUpdate& s : states) {
    if (s.next == nullptr) continue;
    Value* next = s.next;
    if (next->producer() == nullptr || next->num_graph_outputs() > 0) {
      Graph::NodeSpec copy;
      copy.op_type = "Identity";
      copy.inputs = {next};
      copy.outputs = {""};
      copy.opset = opset;
      next = graph->AddNode(std::move(copy))->output(0);
    }
    graph->Rename(next, absl::StrCat(s.state->name(), "/next"));
    graph->AddOutput(next);
  }
  for (const StateUpdate& s : states) {
    const Tensor value = s.state->initializer();
    graph->ClearState(s.state);
    graph->ClearInitializer(s.state);
    graph->SetInitializer(s.state, value);
  }
  return graph->Sort();
}

// The training graph as one step in plain ONNX.
absl::Status ExportStep(const NamedModel& model, const OpRegistry& registry,
                        const std::string& path, ExportOptions options) {
  if (model.training.empty()) {
    return ModelError("has no training information; take train.onnx of a run, or a checkpoint");
  }
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> step, ResolveTraining(model));
  GR_RETURN_IF_ERROR(InferTypes(*step, registry));
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Graph> plain, ToStandard(*step, registry));
  GR_RETURN_IF_ERROR(ExposeStates(plain.get()));
  options.registry = &registry;
  return ExportOnnx(*plain, path, options);
}

// Nodes of operators that plugins brought along, those in nested graphs left out.
std::vector<const Node*> PluginNodes(const Graph& graph, const Registries& registries) {
  absl::flat_hash_set<std::string> operators;
  for (const Plugin& plugin : registries.plugins)
    operators.insert(plugin.operators.begin(), plugin.operators.end());
  std::vector<const Node*> nodes;
  for (const auto& node : graph.nodes()) {
    const OpDef* def = registries.ops->Find(*node);
    if (def != nullptr && operators.contains(def->Describe())) nodes.push_back(node.get());
  }
  return nodes;
}

absl::Status Run(const Flags& flags) {
  if (!flags.Has("output")) return UsageError("-o FILE.onnx says where to write the model");
  const int forms = flags.On("inference") + flags.On("training") + flags.On("train-step");
  if (forms > 1) return UsageError("--inference, --training and --train-step exclude each other");
  const std::string path = flags.Get("output");
  const bool run = IsFolder(flags.argument(0));
  std::string source = flags.argument(0);
  if (run && (flags.On("training") || flags.On("train-step"))) {
    source = JoinPath(source, "train.onnx");
  } else {
    GR_ASSIGN_OR_RETURN(source, ModelOf(source));
  }
  GR_ASSIGN_OR_RETURN(const Registries registries, MakeRegistries(flags));
  const std::unique_ptr<OpRegistry>& registry = registries.ops;
  ExportOptions options;
  options.registry = registry.get();
  if (flags.Has("external-data")) {
    options.external_data = flags.Get("external-data");
    if (absl::StrContains(options.external_data, "/")) {
      return UsageError("--external-data is the name of a file beside the model, without folders");
    }
  }
  GR_ASSIGN_OR_RETURN(const NamedModel model, ReadOnnx(source));
  if (flags.On("training")) {
    if (model.training.empty()) {
      return ModelError(source,
                        ": has no training information; take train.onnx of a run, or a checkpoint");
    }
    GR_RETURN_IF_ERROR(WriteOnnx(model, path, options));
    return Report(path);
  }
  if (flags.On("train-step")) {
    GR_RETURN_IF_ERROR(Annotate(ExportStep(model, *registry, path, options), source));
    return Report(path);
  }
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Graph> graph, ResolveNames(model));
  GR_RETURN_IF_ERROR(Annotate(ToInferenceForm(*graph, *registry), source));
  GR_RETURN_IF_ERROR(Annotate(InferTypes(*graph, *registry), source));
  if (flags.On("standard") || !PluginNodes(*graph, registries).empty()) {
    GR_ASSIGN_OR_RETURN(graph, ToStandard(*graph, *registry));
  }
  for (const Node* node : PluginNodes(*graph, registries)) {
    Warn(node->Describe(), ": its operator has no function body: only what knows domain ",
         node->domain(), " can run ", path);
  }
  graph->producer_name = "graphrun";
  GR_RETURN_IF_ERROR(ExportOnnx(*graph, path, options));
  return Report(path);
}

}  // namespace

Verb ExportVerb() {
  return {"export",
          "MODEL.onnx|RUN",
          "writes a model or a run's result as ONNX",
          "--inference (the default): dropout and training forms gone, statistics fixed. "
          "--training: with the\n"
          "training graph and the optimizer's state (TrainingInfoProto). --train-step: one step of "
          "training as a\n"
          "plain graph: each parameter and slot NAME is an input with its value as default, and an "
          "output NAME/next.",
          "graphrun export runs/digits --inference -o digits.onnx\n"
          "graphrun export runs/digits --training -o continue.onnx\n"
          "graphrun export model.onnx -o model_ext.onnx --external-data weights.bin",
          {{"output", "FILE", "where to write", false, 'o'},
           {"inference", "", "for inference"},
           {"training", "", "with training information"},
           {"train-step", "", "one training step as plain ONNX"},
           {"standard", "", "only operators of the ONNX standard"},
           {"external-data", "NAME", "weights in a file of that name beside the model"}},
          1,
          1,
          Run};
}

}  // namespace graphrun::cli
