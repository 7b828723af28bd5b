#include "runtime/train/save_policy.h"

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"

namespace graphrun {

absl::StatusOr<SavePolicy> SavePolicy::Parse(const recipe::Recipe& recipe) {
  SavePolicy policy;
  const auto& items = recipe.output().save();
  if (!items.empty()) policy.last = policy.best = false;
  for (const std::string& item : items) {
    absl::string_view rest = item;
    int64_t* count = absl::ConsumePrefix(&rest, "every=") ? &policy.every
                     : absl::ConsumePrefix(&rest, "top=") ? &policy.top
                                                          : nullptr;
    if (item == "last") {
      policy.last = true;
    } else if (item == "best") {
      policy.best = true;
    } else if (count == nullptr || !absl::SimpleAtoi(rest, count) || *count < 1) {
      const std::vector<std::string> known = {"last", "best", "every=100", "top=3"};
      return UsageError("output.save: \"", item, "\" is not one of last, best, every=N, top=K",
                        DidYouMean(item, known));
    }
  }
  policy.best |= recipe.loop().restore_best();
  return policy;
}

}  // namespace graphrun
