#include "tools/search_space.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "runtime/base/status.h"

namespace graphrun::cli {
namespace {

constexpr size_t kMostPoints = 10000;

absl::Status BadRange(absl::string_view text) {
  return UsageError("\"", text,
                    "\" is no range. Write LOW..HIGH, LOW..HIGH:log, or LOW..HIGH:log:5 for 5 "
                    "points of a grid, with LOW below HIGH");
}

absl::Status ParseRange(absl::string_view text, Dimension* d) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  const std::pair<std::string, std::string> ends =
      absl::StrSplit(parts[0], absl::MaxSplits("..", 1));
  if (!absl::SimpleAtod(ends.first, &d->low) || !absl::SimpleAtod(ends.second, &d->high) ||
      !(d->low < d->high) || !std::isfinite(d->high - d->low))
    return BadRange(text);
  int64_t whole;
  d->whole = absl::SimpleAtoi(ends.first, &whole) && absl::SimpleAtoi(ends.second, &whole);
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == "log") {
      d->log = true;
    } else if (!absl::SimpleAtoi(parts[i], &d->points) || d->points < 2 || d->points > 1000) {
      return BadRange(text);
    }
  }
  if (d->log && !(d->low > 0))
    return UsageError("\"", text, "\": a range with :log begins above 0");
  return absl::OkStatus();
}

// The value at `t` in [0, 1] of a range.
std::string At(const Dimension& d, double t) {
  double value = d.log ? d.low * std::pow(d.high / d.low, t) : d.low + (d.high - d.low) * t;
  value = std::clamp(value, d.low, d.high);
  return d.whole ? absl::StrCat(static_cast<int64_t>(std::llround(value)))
                 : absl::StrFormat("%.4g", value);
}

}  // namespace

absl::StatusOr<Dimension> Dimension::Parse(absl::string_view text) {
  const size_t equals = text.find('=');
  if (equals == absl::string_view::npos || equals == 0 || equals + 1 == text.size()) {
    return UsageError("\"", text, "\" varies nothing. Write NAME=VALUE,VALUE or NAME=LOW..HIGH");
  }
  Dimension d;
  d.name = std::string(text.substr(0, equals));
  const absl::string_view values = text.substr(equals + 1);
  if (values.find("..") != absl::string_view::npos) {
    GR_RETURN_IF_ERROR(Annotate(ParseRange(values, &d), d.name));
    return d;
  }
  const char separator = values.find('|') != absl::string_view::npos ? '|' : ',';
  for (const absl::string_view value : absl::StrSplit(values, separator)) {
    if (std::find(d.choices.begin(), d.choices.end(), value) != d.choices.end())
      return UsageError(d.name, ": \"", value, "\" is there twice");
    d.choices.emplace_back(value);
  }
  return d;
}

std::string Dimension::Draw(Rng* rng) const {
  if (!is_range()) return choices[rng->Below(choices.size())];
  if (!whole || log) return At(*this, rng->Uniform());
  const auto count = static_cast<uint64_t>(high - low) + 1;
  return absl::StrCat(static_cast<int64_t>(low) + static_cast<int64_t>(rng->Below(count)));
}

std::vector<std::string> Dimension::Grid() const {
  if (!is_range()) return choices;
  std::vector<std::string> values;
  for (int64_t i = 0; i < points; ++i) {
    std::string value = At(*this, static_cast<double>(i) / static_cast<double>(points - 1));
    if (values.empty() || values.back() != value) values.push_back(std::move(value));
  }
  return values;
}

std::vector<Point> DrawPoints(const std::vector<Dimension>& space, int64_t count, uint64_t seed) {
  std::vector<Point> points;
  Rng rng(Mix(seed, 21));
  // A space with fewer points than asked for ends the search for new ones.
  for (int64_t misses = 0; static_cast<int64_t>(points.size()) < count && misses < 1000;) {
    Point point;
    for (const Dimension& d : space) point.push_back(d.Draw(&rng));
    if (std::find(points.begin(), points.end(), point) == points.end()) {
      points.push_back(std::move(point));
      misses = 0;
    } else {
      ++misses;
    }
  }
  return points;
}

absl::StatusOr<std::vector<Point>> GridPoints(const std::vector<Dimension>& space) {
  std::vector<Point> points = {{}};
  for (const Dimension& d : space) {
    std::vector<Point> longer;
    const std::vector<std::string> values = d.Grid();
    if (points.size() * values.size() > kMostPoints)
      return LimitError("the grid has more than ", kMostPoints, " points; try --search random");
    for (const Point& point : points) {
      for (const std::string& value : values) {
        longer.push_back(point);
        longer.back().push_back(value);
      }
    }
    points = std::move(longer);
  }
  return points;
}

std::string PointText(const std::vector<Dimension>& space, const Point& point) {
  std::string text;
  for (size_t i = 0; i < space.size(); ++i)
    absl::StrAppend(&text, i > 0 ? " " : "", space[i].name, "=", point[i]);
  return text;
}

}  // namespace graphrun::cli
