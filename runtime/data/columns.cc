#include "runtime/data/columns.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"

namespace graphrun {
namespace {

absl::StatusOr<int> ResolveColumn(absl::string_view name, int count,
                                  const std::vector<std::string>& names) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<int>(found - names.begin());
  int index = 0;
  if (absl::SimpleAtoi(name, &index)) {
    if (index >= -count && index < count) return index < 0 ? index + count : index;
    return UsageError("there is no column ", index, "; there are ", count, " (0 to ", count - 1,
                      ", or -1 for the last)");
  }
  if (names.empty()) {
    return UsageError("there is no column \"", name,
                      "\": the columns have no names; give the index (0 to ", count - 1,
                      ", or -1 for the last)");
  }
  return UsageError("there is no column \"", name, "\"; there are ", count, ", from \"",
                    names.front(), "\" to \"", names.back(), "\".", DidYouMean(name, names));
}

}  // namespace

absl::StatusOr<std::vector<int>> ResolveColumns(absl::string_view spec, int count,
                                                const std::vector<std::string>& names) {
  std::vector<int> columns;
  std::vector<bool> seen(static_cast<size_t>(count));
  for (const absl::string_view raw : absl::StrSplit(spec, ',')) {
    const absl::string_view part = absl::StripAsciiWhitespace(raw);
    const size_t dots = part.find("..");
    const bool named = std::find(names.begin(), names.end(), part) != names.end();
    const bool range = dots != absl::string_view::npos && !named;
    GR_ASSIGN_OR_RETURN(const int first,
                        ResolveColumn(range ? part.substr(0, dots) : part, count, names));
    int last = first;
    if (range) {
      GR_ASSIGN_OR_RETURN(last, ResolveColumn(part.substr(dots + 2), count, names));
      if (last < first) {
        return UsageError("the range of columns \"", part, "\" runs backwards (", first, " to ",
                          last, ")");
      }
    }
    for (int column = first; column <= last; ++column) {
      if (seen[static_cast<size_t>(column)]) {
        return UsageError("column ", column, " is named twice in \"", spec, "\"");
      }
      seen[static_cast<size_t>(column)] = true;
      columns.push_back(column);
    }
  }
  return columns;
}

std::vector<int> OtherColumns(int count, const std::vector<int>& taken) {
  std::vector<int> others;
  for (int column = 0; column < count; ++column) {
    if (std::find(taken.begin(), taken.end(), column) == taken.end()) others.push_back(column);
  }
  return others;
}

}  // namespace graphrun
