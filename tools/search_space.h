// What a search varies: names and the values that they may take.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/rng.h"

namespace graphrun::cli {

// A recipe's field, a flag of `train`, or a flag of `new`, with a list of values or a range.
struct Dimension {
  std::string name;
  std::vector<std::string> choices;  // empty: a range
  double low = 0, high = 0;
  bool log = false;    // equal chances for equal ratios
  bool whole = false;  // both ends are whole numbers, and so is what lies between
  int64_t points = 3;  // of a grid

  // "optimizer=sgd,adam", "layers=32|64,64" (bars where values have commas), "lr=1e-4..1e-1:log",
  // "layers.0=8..64:4" (4 points in a grid). Errors: kUsage.
  static absl::StatusOr<Dimension> Parse(absl::string_view text);

  std::string Draw(Rng* rng) const;
  // The values of a grid: the choices, or the points of the range.
  std::vector<std::string> Grid() const;
  bool is_range() const { return choices.empty(); }
};

// One value for each dimension.
using Point = std::vector<std::string>;

// `count` points, no two the same where the space has as many; the same seed gives the same points.
std::vector<Point> DrawPoints(const std::vector<Dimension>& space, int64_t count, uint64_t seed);

// Every combination, the last dimension changing fastest. Errors: kLimit beyond 10,000.
absl::StatusOr<std::vector<Point>> GridPoints(const std::vector<Dimension>& space);

// "lr=0.01 layers=64,64".
std::string PointText(const std::vector<Dimension>& space, const Point& point);

}  // namespace graphrun::cli
