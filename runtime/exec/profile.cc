#include "runtime/exec/profile.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace graphrun {
namespace {

// Billions of floating-point operations a second, of which a multiply-add is two; "" where nothing
// was counted.
std::string Rate(double multiply_adds, double seconds) {
  return multiply_adds > 0 && seconds > 0
             ? absl::StrFormat("%8.1f GFLOP/s", 2e-9 * multiply_adds / seconds)
             : std::string(16, ' ');
}

}  // namespace

double Profile::multiply_adds() const {
  double sum = 0;
  for (const Row& row : rows) sum += row.multiply_adds;
  return sum;
}

std::vector<Profile::OpShare> Profile::ByOperator() const {
  std::map<std::string, OpShare> shares;
  for (const Row& row : rows) {
    OpShare& share = shares[row.op];
    share.op = row.op;
    ++share.steps;
    share.calls += row.calls;
    share.seconds += row.seconds;
    share.multiply_adds += row.multiply_adds * static_cast<double>(row.calls);
  }
  std::vector<OpShare> sorted;
  for (auto& [op, share] : shares) sorted.push_back(std::move(share));
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const OpShare& a, const OpShare& b) { return a.seconds > b.seconds; });
  return sorted;
}

std::string Profile::OperatorTable(size_t top) const {
  std::string out;
  const double total = seconds > 0 ? seconds : 1;
  std::vector<OpShare> shares = ByOperator();
  if (top > 0 && shares.size() > top) shares.resize(top);
  for (const OpShare& share : shares) {
    absl::StrAppendFormat(&out, "%6.2f %%  %10.1f us  %4d x  %s  %s\n", 100 * share.seconds / total,
                          1e6 * share.seconds / static_cast<double>(std::max<int64_t>(runs, 1)),
                          share.steps, Rate(share.multiply_adds, share.seconds), share.op);
  }
  return out;
}

std::string Profile::ToString(size_t top) const {
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return rows[a].seconds > rows[b].seconds; });
  if (top > 0 && order.size() > top) order.resize(top);
  std::string out;
  const double total = seconds > 0 ? seconds : 1;
  for (const size_t i : order) {
    const Row& row = rows[i];
    absl::StrAppendFormat(
        &out, "%6.2f %%  %10.1f us  %s  %-28s %-8s %s%s\n", 100 * row.seconds / total,
        row.seconds * 1e6 / static_cast<double>(std::max<int64_t>(row.calls, 1)),
        Rate(row.multiply_adds * static_cast<double>(row.calls), row.seconds), row.op, row.kernel,
        row.label, row.info.empty() ? "" : absl::StrCat("  [", row.info, "]"));
  }
  return out;
}

}  // namespace graphrun
