#include "runtime/base/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace graphrun {
namespace {

constexpr size_t kLongestName = 128;  // longer words are nobody's typing mistake

}  // namespace

int EditDistance(absl::string_view a, absl::string_view b) {
  const size_t n = b.size();
  std::vector<int> before(n + 1), above(n + 1), row(n + 1);
  for (size_t j = 0; j <= n; ++j) above[j] = static_cast<int>(j);
  const auto same = [](char x, char y) {
    return absl::ascii_tolower(static_cast<unsigned char>(x)) ==
           absl::ascii_tolower(static_cast<unsigned char>(y));
  };
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= n; ++j) {
      const int change = same(a[i - 1], b[j - 1]) ? 0 : 1;
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + change});
      if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1])) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(above);
    above.swap(row);
  }
  return above[n];
}

std::string NearestName(absl::string_view got, absl::Span<const std::string> names) {
  if (got.empty() || got.size() > kLongestName) return "";
  const std::string* best = nullptr;
  int best_distance = 0;
  for (const std::string& name : names) {
    if (name.size() > kLongestName) continue;
    int distance = EditDistance(got, name);
    const size_t longer = std::max(got.size(), name.size());
    const bool begins = got.size() >= 2 && absl::StartsWithIgnoreCase(name, got);
    if (!begins && distance > static_cast<int>(std::max<size_t>(1, longer / 3))) continue;
    if (distance >= static_cast<int>(longer)) continue;  // nothing in common
    if (begins) distance = std::min(distance, 1);
    if (best == nullptr || distance < best_distance) {
      best = &name;
      best_distance = distance;
    }
  }
  return best == nullptr ? "" : *best;
}

std::string DidYouMean(absl::string_view got, absl::Span<const std::string> names) {
  const std::string name = NearestName(got, names);
  return name.empty() ? "" : absl::StrCat(" Did you mean \"", name, "\"?");
}

std::string HumanBytes(int64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string HumanCount(double count) {
  if (std::isnan(count)) return "nan";
  if (std::isinf(count)) return count > 0 ? "inf" : "-inf";
  constexpr std::array<const char*, 5> kUnits = {"", "k", "M", "G", "T"};
  size_t unit = 0;
  double value = count;
  while (std::fabs(value) >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0 && value == std::floor(value)) return absl::StrFormat("%.0f", value);
  const double magnitude = std::fabs(value);
  const int decimals = magnitude >= 99.95 ? 0 : magnitude >= 9.995 ? 1 : 2;
  return absl::StrFormat("%.*f%s", decimals, value, kUnits[unit]);
}

std::string HumanSeconds(double seconds) {
  if (!(seconds >= 0) || seconds > 1e10) return "?";
  if (seconds < 9.95) return absl::StrFormat("%.1f s", seconds);
  const int64_t total = std::llround(seconds);
  if (total < 60) return absl::StrCat(total, " s");
  const int64_t days = total / 86400, hours = total / 3600 % 24, minutes = total / 60 % 60;
  if (days > 0) return absl::StrFormat("%dd %02d:%02d", days, hours, minutes);
  if (hours > 0) return absl::StrFormat("%d:%02d:%02d", hours, minutes, total % 60);
  return absl::StrFormat("%d:%02d", minutes, total % 60);
}

}  // namespace graphrun
