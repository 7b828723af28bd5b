#include "tools/new_spec.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/op/infer.h"
#include "runtime/train/init.h"
#include "runtime/train/recipe.h"
#include "tools/layers.h"
#include "tools/new_model.h"

namespace graphrun::cli {
namespace {

using Maker = absl::StatusOr<std::unique_ptr<Graph>> (*)(const NewModel&);
struct Kind {
  const char* name;
  Maker make;
};
constexpr Kind kKinds[] = {{"mlp", NewMlp},
                           {"cnn", NewCnn},
                           {"resnet", NewResnet},
                           {"transformer", NewTransformer},
                           {"lstm", NewRecurrent}};

absl::Status CheckActivations(const std::vector<std::string>& names) {
  const std::vector<std::string> known = ActivationNames();
  for (const std::string& name : names) {
    if (IsOperatorOfDomain(name)) continue;
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return UsageError("there is no activation \"", name, "\".", DidYouMean(name, known),
                        " There are ", absl::StrJoin(known, ", "),
                        ", and a plugin's operators as DOMAIN::NAME");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<NewModel> ReadModel(const Flags& flags) {
  constexpr int64_t kMost = 1 << 20;
  NewModel m;
  if (!flags.Has("in") || !flags.Has("out")) {
    return UsageError("--in and --out are needed: sizes of a sample, and how many outputs");
  }
  GR_ASSIGN_OR_RETURN(m.input, flags.Ints("in", {}, 1));
  GR_ASSIGN_OR_RETURN(m.outputs, flags.Int("out", 1, 1, kMost));
  GR_ASSIGN_OR_RETURN(m.layers, flags.Ints("layers", {}, 1));
  GR_ASSIGN_OR_RETURN(m.channels, flags.Ints("channels", {32, 64}, 1));
  GR_ASSIGN_OR_RETURN(m.stages, flags.Ints("stages", {2, 2, 2, 2}, 1));
  GR_ASSIGN_OR_RETURN(m.kernel, flags.Int("kernel", 3, 1, 99));
  GR_ASSIGN_OR_RETURN(m.pool, flags.Int("pool", 2, 1, 99));
  GR_ASSIGN_OR_RETURN(m.width, flags.Int("width", 64, 1, 1 << 14));
  GR_ASSIGN_OR_RETURN(m.vocabulary, flags.Int("vocab", 0, 1, int64_t{1} << 24));
  GR_ASSIGN_OR_RETURN(m.dim, flags.Int("dim", 64, 1, 1 << 16));
  GR_ASSIGN_OR_RETURN(m.heads, flags.Int("heads", 4, 1, 1 << 10));
  GR_ASSIGN_OR_RETURN(m.blocks, flags.Int("blocks", 2, 1, 1 << 10));
  GR_ASSIGN_OR_RETURN(m.hidden, flags.Int("hidden", 64, 1, 1 << 16));
  GR_ASSIGN_OR_RETURN(m.cell, flags.Choice("cell", "lstm", {"lstm", "gru", "rnn"}));
  GR_ASSIGN_OR_RETURN(m.dropout, flags.Number("dropout", 0));
  if (!(m.dropout >= 0 && m.dropout < 1)) {
    return UsageError("--dropout is the share that is dropped, in [0, 1), not ",
                      flags.Get("dropout"));
  }
  m.activations = absl::StrSplit(flags.Get("activation", "relu"), ',');
  m.last = flags.Get("last", "none");
  GR_RETURN_IF_ERROR(Annotate(CheckActivations(m.activations), "--activation"));
  GR_RETURN_IF_ERROR(Annotate(CheckActivations({m.last}), "--last"));
  m.batchnorm = flags.On("batchnorm");
  m.bias = !flags.Has("bias") || flags.On("bias");
  m.global_pool = flags.On("global-pool");
  m.bidirectional = flags.On("bidirectional");
  for (const auto* sizes : {&m.input, &m.layers, &m.channels, &m.stages}) {
    if (sizes->size() > 1000)
      return LimitError("a list of ", sizes->size(), " sizes: at most 1000 are taken");
    int64_t product = 1;
    for (const int64_t d : *sizes) {
      if (d > kMost) return LimitError("a size of ", d, ": at most ", kMost, " are taken");
      if (sizes == &m.input && (product *= d) > int64_t{1} << 31) {
        return LimitError("--in ", flags.Get("in"), " is too large");
      }
    }
  }
  if (m.stages.size() > 8) return UsageError("--stages takes at most 8 numbers");
  return m;
}

}  // namespace

std::vector<std::string> NewKinds() {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

absl::StatusOr<std::unique_ptr<Graph>> MakeNewModel(const Flags& flags,
                                                    const OpRegistry& registry) {
  const std::string& name = flags.argument(0);
  Maker make = nullptr;
  for (const Kind& kind : kKinds)
    if (name == kind.name) make = kind.make;
  if (make == nullptr) {
    return UsageError("there is no model kind \"", name, "\".", DidYouMean(name, NewKinds()),
                      " There are ", absl::StrJoin(NewKinds(), ", "));
  }
  GR_ASSIGN_OR_RETURN(const NewModel model, ReadModel(flags));
  GR_ASSIGN_OR_RETURN(const int64_t seed, flags.Int("seed", 1, 0));
  recipe::Recipe recipe;
  GR_RETURN_IF_ERROR(SetRecipeField(&recipe, "model.init", flags.Get("init", "he")));
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Graph> graph, make(model));
  if (recipe.model().init() != recipe::Model::KEEP) {
    GR_RETURN_IF_ERROR(
        InitializeParameters(*graph, registry, recipe.model().init(), static_cast<uint64_t>(seed)));
  }
  GR_RETURN_IF_ERROR(InferTypes(*graph, registry));
  return graph;
}

}  // namespace graphrun::cli
