// Axis: numbers to pixels, with ticks at round numbers.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace graphrun {

struct Tick {
  double value;
  std::string label;
};

// Round ticks (1, 2 or 5 times a power of ten apart) that lie in [low, high], about `count` of
// them, with labels of equally many decimals ("0.25", "12k", "1e-7"). Empty unless low < high, both
// finite.
std::vector<Tick> NiceTicks(double low, double high, int count);

// Powers of ten in [low, high], thinned to about `count`; for less than two decades also 2 and 5
// times those. REQUIRES: 0 < low < high.
std::vector<Tick> LogTicks(double low, double high, int count);

// A scale from values to pixels.
class Axis {
 public:
  // The scale of all finite values (logarithmic: all positive ones) added by Include.
  explicit Axis(bool logarithmic = false) : logarithmic_(logarithmic) {}
  void Include(double value);
  // Fixes the ends after Include; degenerate ranges are widened. `nice` widens them to the next
  // tick where that is near, else by a little. Then ticks() and ToPixel hold.
  void Settle(bool nice, int ticks);
  // Ticks at whole numbers only: epochs, steps. Before Settle.
  void SetWhole() { whole_ = true; }
  void SetPixels(double at_low, double at_high) {
    pixel_low_ = at_low;
    pixel_high_ = at_high;
  }
  // True for numbers that the scale can show.
  bool Shows(double value) const;
  bool any() const { return any_; }  // whether Include saw such a number
  double ToPixel(double value) const;
  const std::vector<Tick>& ticks() const { return ticks_; }
  double low() const { return low_; }
  double high() const { return high_; }

 private:
  double Scaled(double value) const;
  bool logarithmic_;
  bool any_ = false, whole_ = false;
  double low_ = 0, high_ = 1;
  double pixel_low_ = 0, pixel_high_ = 1;
  std::vector<Tick> ticks_;
};

}  // namespace graphrun
