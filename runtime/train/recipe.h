// Recipes as files and as words of a command line.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/recipe.pb.h"

namespace graphrun {

// Reads a recipe from protobuf's text format, or from JSON where the path ends in .json. Errors:
// kUsage with file, line, column and the nearest name; kIo.
absl::StatusOr<recipe::Recipe> LoadRecipe(const std::string& path);

// The same from a text; `where` stands in front of messages.
absl::StatusOr<recipe::Recipe> ParseRecipe(const std::string& text, absl::string_view where,
                                           bool json);

// Sets one field by its path: ("optimizer.adam.beta1", "0.95"). A repeated field gains an element,
// unless the path names one ("regularizer[0].l2"). ("optimizer", "adam") chooses a kind; "*" in a
// path is the kind that is chosen ("optimizer.*.beta1"). Errors: kUsage saying what the field
// takes, with the nearest name.
absl::Status SetRecipeField(recipe::Recipe* recipe, absl::string_view path,
                            absl::string_view value);

// "optimizer.adam.beta1=0.95".
absl::Status ApplyAssignment(recipe::Recipe* recipe, absl::string_view assignment);

// The text format; the same recipe gives the same bytes.
std::string PrintRecipe(const recipe::Recipe& recipe);

}  // namespace graphrun
