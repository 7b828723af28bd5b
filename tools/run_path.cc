#include "tools/run_path.h"

#include "runtime/base/file.h"
#include "runtime/base/status.h"

namespace graphrun::cli {

absl::StatusOr<std::string> ModelOf(const std::string& path) {
  if (!IsFolder(path)) return path;
  for (const char* name : {"best.onnx", "last.onnx"}) {
    const std::string model = JoinPath(path, name);
    if (FileExists(model)) return model;
  }
  return CheckpointError(
      path, ": has neither best.onnx nor last.onnx: no run ended here. Train with --out ", path,
      " first, or name a model file");
}

}  // namespace graphrun::cli
