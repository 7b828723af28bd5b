#include "runtime/passes/pass.h"

#include "runtime/ir/verify.h"

namespace graphrun {

absl::Status PassPipeline::Run(Graph& graph, const OpRegistry& registry) const {
  for (const Pass& pass : passes_) {
    auto changed = pass.run(graph, registry);
    if (!changed.ok()) return Annotate(changed.status(), absl::StrCat("pass ", pass.name));
    if (!*changed) continue;
    absl::Status sound = graph.Sort();
    if (sound.ok()) sound = Verify(graph);
    if (!sound.ok()) return InternalError("after pass ", pass.name, ": ", sound.message());
  }
  return absl::OkStatus();
}

PassPipeline StandardPipeline(const OpRegistry& registry, bool fuse, DType precision) {
  const bool mixed = precision == DType::kBFloat16;
  PassPipeline pipeline;
  pipeline.Add({"no-ops", RemoveNoOps})
      .Add({"equal-nodes", MergeEqualNodes})
      .Add({"dead-code", RemoveDeadCode});
  for (const auto phase :
       {Rewrite::Phase::kCanonical, Rewrite::Phase::kFuse, Rewrite::Phase::kPointwise}) {
    for (const Rewrite& rewrite : registry.rewrites()) {
      if (rewrite.phase != phase || !(rewrite.mixed_precision ? mixed : fuse)) continue;
      pipeline.Add({rewrite.name, rewrite.run});
      if (rewrite.mixed_precision) pipeline.Add({"dead-code", RemoveDeadCode});
    }
    if (phase == Rewrite::Phase::kCanonical) pipeline.Add({"fold", FoldConstants});
    if (fuse) pipeline.Add({"dead-code", RemoveDeadCode});
  }
  return pipeline;
}

absl::Status RecognizePatterns(Graph& graph, const OpRegistry& registry) {
  PassPipeline pipeline;
  pipeline.Add({"no-ops", RemoveNoOps}).Add({"equal-nodes", MergeEqualNodes});
  for (const Rewrite& rewrite : registry.rewrites()) {
    if (rewrite.recognizes_operator) pipeline.Add({rewrite.name, rewrite.run});
  }
  return pipeline.Run(graph, registry);
}

}  // namespace graphrun
