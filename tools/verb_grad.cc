#include <algorithm>

#include "absl/strings/str_join.h"
#include "runtime/autodiff/gradients.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/onnx/import.h"
#include "runtime/op/infer.h"
#include "runtime/passes/pass.h"
#include "runtime/train/inference_form.h"
#include "runtime/train/recipe.h"
#include "runtime/train/run_setup.h"
#include "runtime/train/training_form.h"
#include "tools/output.h"
#include "tools/pattern.h"
#include "tools/plain_form.h"
#include "tools/registry.h"
#include "tools/verbs.h"
#include "tools/write_model.h"

namespace graphrun::cli {
namespace {

// Attaches --loss to the first output: its value is what is differentiated.
absl::StatusOr<std::unique_ptr<Graph>> WithLoss(const Graph& model, const OpRegistry& registry,
                                                const Flags& flags, std::string* loss_name) {
  recipe::Recipe recipe;
  GR_RETURN_IF_ERROR(Annotate(SetRecipeField(&recipe, "loss.name", flags.Get("loss")), "--loss"));
  const std::unique_ptr<Graph> inferred = model.Clone();
  GR_RETURN_IF_ERROR(InferTypes(*inferred, registry));
  if (recipe.loss().name() == "auto") {
    const Shape shape = inferred->outputs().empty() ? Shape() : inferred->outputs()[0]->shape();
    const bool scores =
        shape.has_rank() && shape.rank() >= 2 && shape[1].is_number() && shape[1].value() > 1;
    recipe.mutable_loss()->set_name(ResolveLoss(*inferred, registry, scores));
  }
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Loss> loss, MakeLoss(recipe.loss()));
  TrainingOptions options;
  options.loss = loss.get();
  options.class_targets = loss->target() == LossTarget::kClass;
  TrainingForm form(model, registry, options);
  GR_RETURN_IF_ERROR(form.Specialized());
  GR_RETURN_IF_ERROR(form.AttachLoss());
  *loss_name = form.loss()->name();
  std::vector<Value*> states;
  for (const StateUpdate& s : form.graph().states()) states.push_back(s.state);
  for (Value* v : states) form.graph().ClearState(v);
  return form.Take();
}

// What is differentiated by: --wrt, the float inputs with --inputs, else the weights.
absl::StatusOr<std::vector<Value*>> Targets(const Graph& graph, const Flags& flags) {
  std::vector<Value*> all, targets;
  for (const auto& v : graph.values()) {
    if (!v->type().is_tensor() || !IsFloat(v->dtype())) continue;
    if (v->is_initializer() ? v->initializer().rank() >= 1 : v->is_graph_input())
      all.push_back(v.get());
  }
  if (!flags.Has("wrt")) {
    for (Value* v : all)
      if (v->is_initializer() != flags.On("inputs") && v->name() != "target") targets.push_back(v);
    return targets;
  }
  for (const std::string& pattern : flags.All("wrt")) {
    GR_ASSIGN_OR_RETURN(const Pattern match, Pattern::Compile("wrt", pattern));
    const size_t before = targets.size();
    for (Value* v : all) {
      if (match.Matches(v->name()) && std::find(targets.begin(), targets.end(), v) == targets.end())
        targets.push_back(v);
    }
    if (targets.size() == before) {
      std::vector<std::string> names;
      for (const Value* v : all) names.push_back(v->name());
      return UsageError("--wrt: \"", pattern, "\" matches no float weight or input. There are ",
                        absl::StrJoin(names, ", "));
    }
  }
  return targets;
}

absl::StatusOr<Value*> Differentiated(const Graph& graph, const Flags& flags) {
  if (!flags.Has("of")) {
    if (graph.outputs().empty()) return ModelError("the model has no output");
    return graph.outputs()[0];
  }
  Value* v = graph.FindValue(flags.Get("of"));
  if (v != nullptr) return v;
  std::vector<std::string> names;
  for (const auto& value : graph.values()) names.push_back(value->name());
  return UsageError("--of: the model has no value \"", flags.Get("of"), "\".",
                    DidYouMean(flags.Get("of"), names));
}

absl::Status AddGradients(Graph* graph, const OpRegistry& registry, const std::string& loss_name,
                          const Flags& flags) {
  GR_RETURN_IF_ERROR(InferTypes(*graph, registry));
  GR_RETURN_IF_ERROR(graph->Sort());
  Value* y = nullptr;
  if (loss_name.empty()) {
    GR_ASSIGN_OR_RETURN(y, Differentiated(*graph, flags));
  } else {
    y = graph->FindValue(loss_name);
  }
  GR_ASSIGN_OR_RETURN(const std::vector<Value*> targets, Targets(*graph, flags));
  GradientOptions options;
  if (flags.On("seed-input")) options.seed = graph->AddInput("d_" + y->name(), y->type());
  GR_ASSIGN_OR_RETURN(const std::vector<Value*> gradients,
                      AppendGradients(*graph, registry, y, targets, options));
  while (!graph->outputs().empty())
    graph->RemoveOutput(static_cast<int>(graph->outputs().size()) - 1);
  graph->AddOutput(y);
  int reached = 0;
  for (size_t i = 0; i < targets.size(); ++i) {
    if (gradients[i] == nullptr) continue;
    ++reached;
    Value* g = gradients[i];
    if (g->producer() == nullptr || g->num_graph_outputs() > 0) {
      Builder b(graph, &registry, nullptr, "grad/");
      g = b.Op("Identity", {b.Use(g)}).value();
      GR_RETURN_IF_ERROR(b.status());
    }
    graph->Rename(g, graph->UniqueName("d_" + targets[i]->name()));
    graph->AddOutput(g);
  }
  if (reached == 0)
    return ModelError("\"", y->name(), "\" depends on none of the ", targets.size(),
                      " values asked for");
  if (reached < static_cast<int>(targets.size()))
    Warn(targets.size() - static_cast<size_t>(reached), " of ", targets.size(),
         " values do not influence \"", y->name(), "\": no output for them");
  GR_RETURN_IF_ERROR(graph->Sort());
  return RemoveDeadCode(*graph, registry).status();
}

absl::Status Run(const Flags& flags) {
  const std::string& path = flags.argument(0);
  if (flags.Has("of") && flags.Has("loss"))
    return UsageError("--of and --loss exclude each other: the loss is what is differentiated");
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Graph> graph, ImportOnnx(path));
  GR_RETURN_IF_ERROR(Annotate(InlineFunctions(*graph, *registry).status(), path));
  GR_RETURN_IF_ERROR(Annotate(ToInferenceForm(*graph, *registry), path));
  std::string loss_name;
  if (flags.Has("loss")) {
    auto with = WithLoss(*graph, *registry, flags, &loss_name);
    if (!with.ok()) return Annotate(with.status(), path);
    graph = *std::move(with);
  }
  GR_RETURN_IF_ERROR(Annotate(AddGradients(graph.get(), *registry, loss_name, flags), path));
  const bool standard = !flags.Has("standard") || flags.On("standard");
  if (standard) {
    auto plain = ToPlainForm(*graph, *registry, flags);
    if (!plain.ok()) return Annotate(plain.status(), path);
    graph = *std::move(plain);
  }
  graph->producer_name = "graphrun";
  return WriteModel(graph.get(), *registry, flags);
}

}  // namespace

Verb GradVerb() {
  return {"grad",
          "MODEL.onnx",
          "writes a model that computes gradients too, as plain ONNX",
          "Outputs: the value that is differentiated, then d_NAME for each weight. Of an output "
          "with axes the sum\nof its elements is differentiated, or with --seed-input their sum "
          "weighted by one more input. The model\nis taken in its form for inference.",
          "graphrun grad model.onnx -o gradients.onnx --loss auto\n"
          "graphrun grad model.onnx -o saliency.onnx --inputs\n"
          "graphrun grad model.onnx -o g.onnx --wrt 'fc2.*' --seed-input",
          {{"output", "FILE", "where to write", false, 'o'},
           {"loss", "NAME", "attach this loss (auto, ce, bce, mse, ...) with its input \"target\""},
           {"of", "VALUE", "what is differentiated (the first output)"},
           {"inputs", "", "by the inputs instead of the weights"},
           {"wrt", "REGEX", "by the weights and inputs of these names", true},
           {"seed-input", "", "an input d_VALUE holds the weights of the sum"},
           {"shape", "NAME=D,D", "sizes of an input that the model leaves open", true},
           {"batch", "N", "the first axis of inputs, where gradients have no form for any size"},
           {"standard", "", "only operators of the standard (--no-standard: graphrun's own too)"}},
          1,
          1,
          Run};
}

}  // namespace graphrun::cli
