#include "tools/run_path.h"

#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/train/recipe.h"
#include "tools/recipe_flags.h"

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

absl::StatusOr<recipe::Recipe> DataRecipe(const std::string& path, const Flags& flags) {
  recipe::Recipe recipe;
  const std::string file = JoinPath(path, "recipe.txtpb");
  if (IsFolder(path) && FileExists(file)) {
    GR_ASSIGN_OR_RETURN(const recipe::Recipe run, LoadRecipe(file));
    recipe::Data* data = recipe.mutable_data();
    if (run.data().has_format()) data->set_format(run.data().format());
    if (run.data().has_target()) data->set_target(run.data().target());
    *data->mutable_features() = run.data().features();
    *data->mutable_input() = run.data().input();
    *data->mutable_option() = run.data().option();
  }
  GR_RETURN_IF_ERROR(ApplyRecipeFlags(flags, &recipe));
  return recipe;
}

}  // namespace graphrun::cli
