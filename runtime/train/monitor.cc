#include "runtime/train/monitor.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"

namespace graphrun {

absl::StatusOr<Monitor> Monitor::Choose(const recipe::Recipe& recipe,
                                        const std::vector<std::unique_ptr<Metric>>& metrics,
                                        bool validates) {
  Monitor m;
  m.min_delta_ = recipe.loop().min_delta();
  if (recipe.schedule().has_plateau()) {
    m.plateau_delta_ = recipe.schedule().plateau().min_delta();
    m.plateau_patience_ = std::max<int64_t>(recipe.schedule().plateau().patience(), 0);
  }
  m.name_ = recipe.loop().monitor();
  if (m.name_ == "auto") m.name_ = validates ? "val_loss" : "loss";
  std::vector<std::string> names = {"loss"};
  if (validates) names.push_back("val_loss");
  for (const auto& metric : metrics) {
    if (!validates) break;
    names.push_back(absl::StrCat("val_", metric->name()));
    if (m.name_ != names.back() && m.name_ != metric->name()) continue;
    m.name_ = names.back();
    m.higher_ = metric->higher_is_better();
  }
  if (std::find(names.begin(), names.end(), m.name_) == names.end()) {
    return UsageError("loop.monitor is \"", m.name_,
                      "\", which this run does not measure; it measures ",
                      absl::StrJoin(names, ", "), ".", DidYouMean(m.name_, names));
  }
  return m;
}

bool Monitor::BetterBy(double value, double best, bool has_best, double min_delta) const {
  if (std::isnan(value)) return false;
  if (!has_best) return true;
  return higher_ ? value > best + min_delta : value < best - min_delta;
}

bool Monitor::Improves(double value, RunPosition* at) const {
  if (!BetterBy(value, at->best, at->best_epoch >= 0, min_delta_)) {
    ++at->since_best;
    return false;
  }
  at->best = value;
  at->best_epoch = at->epoch;
  at->best_step = at->updates;
  at->since_best = 0;
  return true;
}

bool Monitor::HasPlateau(double value, RunPosition* at) const {
  if (plateau_patience_ < 0) return false;
  if (BetterBy(value, at->plateau_best, at->plateau_started, plateau_delta_)) {
    at->plateau_best = value;
    at->plateau_started = true;
    at->since_lower_lr = 0;
    return false;
  }
  if (++at->since_lower_lr <= plateau_patience_) return false;
  at->since_lower_lr = 0;
  return true;
}

}  // namespace graphrun
