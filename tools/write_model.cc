#include "tools/write_model.h"

#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/onnx/export.h"
#include "runtime/op/infer.h"
#include "runtime/passes/pass.h"
#include "tools/output.h"

namespace graphrun::cli {

absl::Status WriteModel(Graph* graph, const OpRegistry& registry, const Flags& flags) {
  if (!flags.Has("output")) return UsageError("-o FILE.onnx says where to write the model");
  const std::string path = flags.Get("output");
  GR_RETURN_IF_ERROR(Annotate(InlineFunctions(*graph, registry).status(), flags.argument(0)));
  GR_RETURN_IF_ERROR(Annotate(InferTypes(*graph, registry), flags.argument(0)));
  ExportOptions options;
  options.registry = &registry;
  GR_RETURN_IF_ERROR(ExportOnnx(*graph, path, options));
  GR_ASSIGN_OR_RETURN(const int64_t size, FileSize(path));
  Print(path, ": ", graph->num_nodes(), " nodes, ", HumanBytes(size), "\n");
  return absl::OkStatus();
}

}  // namespace graphrun::cli
