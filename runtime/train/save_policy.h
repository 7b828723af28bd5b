// SavePolicy: what a recipe's output.save asks for.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "proto/recipe.pb.h"

namespace graphrun {

struct SavePolicy {
  bool last = true, best = true;
  int64_t every = 0;  // updates between checkpoints that stay; 0: none beside those of epochs
  int64_t top = 0;    // as many of the best models stay, each in a file of its own

  // Errors: kUsage for what is none of last, best, every=N, top=K.
  static absl::StatusOr<SavePolicy> Parse(const recipe::Recipe& recipe);
};

}  // namespace graphrun
