#include "runtime/train/lr_range.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "runtime/base/threads_scope.h"
#include "runtime/report/plot.h"
#include "runtime/train/run_setup.h"

namespace graphrun {
namespace {

constexpr double kSmoothing = 0.9;
constexpr double kDiverged = 4;

// low (high / low)^(step / (steps - 1))
class RisingSchedule : public Schedule {
 public:
  explicit RisingSchedule(const LrRangeOptions& options) : o_(options) {}
  std::string name() const override { return "range test"; }
  Expr Emit(const ScheduleInputs& in) const override {
    Expr ratio = in.step.builder()->Scalar(DType::kFloat64, o_.high / o_.low);
    return o_.low * Pow(ratio, in.step / static_cast<double>(o_.steps - 1));
  }

 private:
  LrRangeOptions o_;
};

absl::Status Check(const LrRangeOptions& o) {
  if (!(o.low > 0) || !(o.high > o.low) || !std::isfinite(o.high))
    return UsageError("the range of rates is ", o.low, " to ", o.high,
                      " but must rise from above 0");
  if (o.steps < 10) return UsageError("the range test takes ", o.steps, " steps; give 10 or more");
  return absl::OkStatus();
}

// Adds a step's loss; false where the test is over.
bool Add(double lr, double loss, LrRange* r) {
  if (!std::isfinite(loss)) {
    r->diverged = true;
    return false;
  }
  const double n = static_cast<double>(r->loss.size());
  const double before =
      r->smoothed.empty() ? 0 : r->smoothed.back() * (1 - std::pow(kSmoothing, n));
  const double average = kSmoothing * before + (1 - kSmoothing) * loss;
  r->lr.push_back(lr);
  r->loss.push_back(loss);
  r->smoothed.push_back(average / (1 - std::pow(kSmoothing, n + 1)));
  const double least = *std::min_element(r->smoothed.begin(), r->smoothed.end());
  r->diverged = n >= 10 && r->smoothed.back() > kDiverged * std::abs(least);
  return !r->diverged;
}

void Suggest(LrRange* r) {
  r->suggestion = r->least_at = std::numeric_limits<double>::quiet_NaN();
  if (r->lr.size() < 3) return;
  const auto least = static_cast<size_t>(std::min_element(r->smoothed.begin(), r->smoothed.end()) -
                                         r->smoothed.begin());
  r->least_at = r->lr[least];
  double steepest = 0;
  for (size_t i = 1; i + 1 < r->lr.size() && i <= least; ++i) {
    const double slope =
        (r->smoothed[i + 1] - r->smoothed[i - 1]) / std::log(r->lr[i + 1] / r->lr[i - 1]);
    if (slope < steepest) {
      steepest = slope;
      r->suggestion = r->lr[i];
    }
  }
}

}  // namespace

std::string LrRange::ToCsv() const {
  std::string text = "lr,loss,smoothed\n";
  for (size_t i = 0; i < lr.size(); ++i)
    absl::StrAppend(&text, lr[i], ",", loss[i], ",", smoothed[i], "\n");
  return text;
}

std::string LrRange::ToSvg() const {
  LineChart chart;
  chart.frame.title = "Learning-rate range test";
  chart.frame.x_label = "learning rate";
  chart.frame.y_label = "loss";
  chart.log_x = true;
  chart.series.push_back({"loss", lr, loss, false, true, {}});
  chart.series.push_back({"smoothed", lr, smoothed, false, false, {}});
  const auto at = std::find(lr.begin(), lr.end(), suggestion);
  if (at != lr.end()) {
    chart.series.back().mark = LineChart::Mark{
        suggestion, smoothed[static_cast<size_t>(at - lr.begin())], absl::StrCat(suggestion)};
  }
  if (!loss.empty()) {
    // What diverges would flatten everything else.
    const auto [low, high] = std::minmax_element(smoothed.begin(), smoothed.end());
    const double most = std::min(*high, std::max(2 * smoothed.front(), *low));
    chart.y_low = *low - 0.1 * (most - *low);
    chart.y_high = most + 0.1 * (most - *low);
    if (*chart.y_low >= *chart.y_high) chart.y_low.reset(), chart.y_high.reset();
  }
  return chart.ToSvg();
}

absl::StatusOr<LrRange> FindLearningRate(const recipe::Recipe& recipe, const OpRegistry& registry,
                                         const LrRangeOptions& options,
                                         const TrainRegistry& parts) {
  GR_RETURN_IF_ERROR(Check(options));
  const ThreadsScope threads(recipe.loop().threads());
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<RunSetup> s,
                      SetUpRun(recipe, registry, std::make_unique<RisingSchedule>(options), parts));
  const int64_t accumulate = s->recipe.optimizer().accumulate();
  LrRange result;
  std::vector<Tensor> arguments;
  int64_t batches = 0;
  double sum = 0;
  int64_t rows = 0;
  for (int64_t epoch = 0, step = 0; step < options.steps; ++epoch) {
    GR_RETURN_IF_ERROR(s->train_loader->Seek(epoch, 0));
    bool last = false;
    for (int64_t b = 0; !last && step < options.steps; ++b) {
      if (options.signal != nullptr && *options.signal != 0) step = options.steps;
      GR_ASSIGN_OR_RETURN(const Batch* batch, s->train_loader->Next());
      last = batch->last;
      ArrangeBatch(s->data, *batch, &arguments);
      const bool update = (b + 1) % accumulate == 0 || last;
      Session& session = update ? *s->step : *s->accumulate;
      session.set_step(static_cast<uint64_t>(batches++));
      GR_RETURN_IF_ERROR(session.Run(absl::Span<const Tensor>(arguments)));
      sum += session.output(0).tensor.AsDouble(0) * static_cast<double>(batch->size);
      rows += batch->size;
      if (!update) continue;
      ++step;
      const double loss = sum / static_cast<double>(rows);
      sum = 0, rows = 0;
      if (!Add(session.output(1).tensor.AsDouble(0), loss, &result)) step = options.steps;
    }
  }
  Suggest(&result);
  return result;
}

}  // namespace graphrun
