// The common fields of a recipe as flags.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "proto/recipe.pb.h"
#include "tools/flags.h"

namespace graphrun::cli {

// Flags for groups of a recipe's fields; "" for all.
std::vector<FlagSpec> RecipeFlags();
std::vector<FlagSpec> DataFlags();

// The recipe of a command line: the file that is named (.txtpb, .json), over it the model that is
// named
// (.onnx), the flags in the order of the table, then assignments (optimizer.adam.beta1=0.95). Paths
// of a recipe file that do not exist are looked for beside it. Errors: kUsage, kIo.
absl::StatusOr<recipe::Recipe> ReadRecipe(const Flags& flags);

// Sets the fields that flags of the table give.
absl::Status ApplyRecipeFlags(const Flags& flags, recipe::Recipe* recipe);

// Sets a field by its path ("optimizer.adam.beta1") or by the name of its flag ("lr", "l2"), as if
// the flag stood above the recipe: lists begin anew, and a regularizer of that kind for all weights
// is replaced (0: there is none). Errors: kUsage with the nearest name.
absl::Status SetByName(const std::string& name, const std::string& value, recipe::Recipe* recipe);

}  // namespace graphrun::cli
