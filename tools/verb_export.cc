#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "runtime/base/all_close.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/onnx/convert_opset.h"
#include "runtime/onnx/export.h"
#include "runtime/onnx/import.h"
#include "runtime/onnx/standard.h"
#include "runtime/op/infer.h"
#include "runtime/passes/pass.h"
#include "runtime/train/inference_form.h"
#include "runtime/train/recipe.h"
#include "tools/model_inputs.h"
#include "tools/output.h"
#include "tools/plain_form.h"
#include "tools/registry.h"
#include "tools/run_path.h"
#include "tools/safetensors.h"
#include "tools/store_weights.h"
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

// The training graph as one step in plain ONNX. `batch`: of the run; 0: unknown.
absl::Status ExportStep(const NamedModel& model, const OpRegistry& registry, const Flags& flags,
                        int64_t batch, ExportOptions options) {
  if (model.training.empty()) {
    return ModelError("has no training information; take train.onnx of a run, or a checkpoint");
  }
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> step, ResolveTraining(model));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> plain,
                      ToPlainForm(*step, registry, flags, batch));
  GR_RETURN_IF_ERROR(ExposeStates(plain.get()));
  options.registry = &registry;
  return ExportOnnx(*plain, flags.Get("output"), options);
}

// The element type that --precision names; undefined: as it is.
absl::StatusOr<DType> WeightType(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const std::string name,
                      flags.Choice("precision", "f32", {"f32", "f16", "bf16"}));
  return name == "f16" ? DType::kFloat16 : name == "bf16" ? DType::kBFloat16 : DType::kFloat32;
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

// The model in inference form, with all that the flags ask for.
absl::StatusOr<std::unique_ptr<Graph>> ForInference(const NamedModel& model,
                                                    const Registries& registries,
                                                    const Flags& flags) {
  const OpRegistry& registry = *registries.ops;
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Graph> graph, ResolveNames(model));
  GR_RETURN_IF_ERROR(InlineFunctions(*graph, registry).status());
  GR_RETURN_IF_ERROR(ToInferenceForm(*graph, registry));
  GR_RETURN_IF_ERROR(InferTypes(*graph, registry));
  if (flags.On("standard") || !PluginNodes(*graph, registries).empty()) {
    GR_ASSIGN_OR_RETURN(graph, ToStandard(*graph, registry));
  }
  for (const Node* node : PluginNodes(*graph, registries)) {
    Warn(node->Describe(), ": its operator has no function body: only what knows domain ",
         node->domain(), " can run ", flags.Get("output"));
  }
  GR_ASSIGN_OR_RETURN(const int64_t opset, flags.Int("opset", 0, 1, 1000));
  if (opset > 0) {
    GR_ASSIGN_OR_RETURN(graph, ConvertOpset(*graph, registry, static_cast<int>(opset)));
  }
  GR_ASSIGN_OR_RETURN(const DType dtype, WeightType(flags));
  if (dtype != DType::kFloat32) {
    GR_RETURN_IF_ERROR(StoreWeights(graph.get(), dtype));
    GR_RETURN_IF_ERROR(InferTypes(*graph, registry));
  }
  graph->producer_name = "graphrun";
  return graph;
}

// The largest |a - b|; NaN where the two are no tensors of numbers of the same sizes.
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

// Runs what was written beside what it was made of, on the same inputs.
absl::Status VerifyExport(const std::string& source, const std::string& path,
                          const OpRegistry& registry, const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const DType dtype, WeightType(flags));
  Tolerance tolerance;
  tolerance.rtol = dtype == DType::kFloat32 ? 1e-4 : dtype == DType::kFloat16 ? 1e-2 : 5e-2;
  tolerance.atol = tolerance.rtol / 10;
  std::vector<Datum> inputs;
  std::unique_ptr<Session> sessions[2];
  for (int m = 0; m < 2; ++m) {
    GR_ASSIGN_OR_RETURN(std::shared_ptr<Graph> graph, ImportOnnx(m == 0 ? source : path));
    if (m == 0) {
      GR_RETURN_IF_ERROR(Annotate(ToInferenceForm(*graph, registry), source));
      GR_ASSIGN_OR_RETURN(inputs, ReadInputs(*graph, flags, true));
    }
    GR_ASSIGN_OR_RETURN(sessions[m], Session::Create(std::move(graph), &registry, {}));
    GR_RETURN_IF_ERROR(
        Annotate(sessions[m]->Run(absl::Span<const Datum>(inputs)), m == 0 ? source : path));
  }
  int different = 0;
  for (int i = 0; i < sessions[0]->num_outputs(); ++i) {
    const Datum &a = sessions[0]->output(i), &b = sessions[1]->output(i);
    const absl::Status same = AllClose(b, a, tolerance);
    different += !same.ok();
    Print(same.ok() ? "same    " : "DIFFERS ", sessions[0]->graph().outputs()[i]->name(), " ",
          a.type().ToString(),
          absl::StrFormat("  largest difference %.3g", LargestDifference(a, b)),
          same.ok() ? "" : absl::StrCat("\n        ", std::string(same.message())), "\n");
  }
  if (different == 0) return absl::OkStatus();
  return NumericError(path, ": ", different, " of ", sessions[0]->num_outputs(),
                      " outputs differ from those of ", source);
}

// Flags that belong to the form for inference.
absl::Status CheckForm(const Flags& flags) {
  const int forms = flags.On("inference") + flags.On("training") + flags.On("train-step");
  if (forms > 1) return UsageError("--inference, --training and --train-step exclude each other");
  for (const char* name : {"opset", "precision", "verify", "safetensors"}) {
    if (flags.Has(name) && (flags.On("training") || flags.On("train-step")))
      return UsageError("--", name, " goes with --inference only");
  }
  return WeightType(flags).status();
}

absl::Status Run(const Flags& flags) {
  if (!flags.Has("output")) return UsageError("-o FILE.onnx says where to write the model");
  GR_RETURN_IF_ERROR(CheckForm(flags));
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
    int64_t batch = 0;
    if (run) {
      GR_ASSIGN_OR_RETURN(const recipe::Recipe recipe,
                          LoadRecipe(JoinPath(flags.argument(0), "recipe.txtpb")));
      batch = recipe.data().batch();
    }
    GR_RETURN_IF_ERROR(Annotate(ExportStep(model, *registry, flags, batch, options), source));
    return Report(path);
  }
  auto graph = ForInference(model, registries, flags);
  if (!graph.ok()) return Annotate(graph.status(), source);
  if (flags.On("safetensors")) {
    GR_ASSIGN_OR_RETURN(const std::vector<std::string> left_out, WriteSafetensors(**graph, path));
    if (!left_out.empty())
      Warn("the format has no type for ", absl::StrJoin(left_out, ", "), "; left out");
    return Report(path);
  }
  GR_RETURN_IF_ERROR(ExportOnnx(**graph, path, options));
  GR_RETURN_IF_ERROR(Report(path));
  return flags.On("verify") ? VerifyExport(source, path, *registry, flags) : absl::OkStatus();
}

}  // namespace

Verb ExportVerb() {
  Verb verb{
      "export",
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
      "graphrun export model.onnx -o half.onnx --precision bf16 --verify\n"
      "graphrun export model.onnx -o old.onnx --opset 13\n"
      "graphrun export runs/digits --safetensors -o digits.safetensors\n"
      "graphrun export model.onnx -o model_ext.onnx --external-data weights.bin",
      {{"output", "FILE", "where to write", false, 'o'},
       {"inference", "", "for inference"},
       {"training", "", "with training information"},
       {"train-step", "", "one training step as plain ONNX"},
       {"standard", "", "only operators of the ONNX standard"},
       {"opset", "N", "another version of the standard's operator set"},
       {"precision", "f32,f16,bf16", "how weights are stored; computed is in float32"},
       {"safetensors", "", "the weights alone, as a safetensors file"},
       {"verify", "", "run what was written beside the original; exit code 8 where they differ"},
       {"external-data", "NAME", "weights in a file of that name beside the model"}},
      1,
      1,
      Run};
  for (const FlagSpec& f : InputFlags()) verb.flags.push_back(f);
  return verb;
}

}  // namespace graphrun::cli
