#include "runtime/report/axis.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace graphrun {
namespace {

// The step of 1, 2 or 5 times a power of ten nearest above (high - low) / count.
double NiceStep(double low, double high, int count) {
  const double rough = (high - low) / std::max(count, 1);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power * (1 + 1e-9)) return factor * power;
  }
  return 10 * power;
}

// A number with the decimals that its step needs.
std::string TickLabel(double value, double step, double largest) {
  if (value == 0) return "0";
  if (largest >= 1e15 || largest < 1e-4) return absl::StrFormat("%.3g", value);
  struct Unit {
    double size;
    const char* letter;
  };
  for (const Unit unit : {Unit{1e12, "T"}, Unit{1e9, "G"}, Unit{1e6, "M"}, Unit{1e3, "k"}}) {
    if (largest < 10 * unit.size || step < unit.size / 1000) continue;
    const int decimals =
        std::max(0, static_cast<int>(std::ceil(-std::log10(step / unit.size) - 1e-9)));
    return absl::StrFormat("%.*f%s", decimals, value / unit.size, unit.letter);
  }
  const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  if (decimals > 8) return absl::StrFormat("%.6g", value);
  return absl::StrFormat("%.*f", decimals, value);
}

std::string PowerLabel(double value) {
  if (value >= 0.001 && value < 1e5) return absl::StrFormat("%g", value);
  const int exponent = static_cast<int>(std::floor(std::log10(value) + 1e-9));
  return absl::StrFormat("%.0fe%d", value / std::pow(10, exponent), exponent);
}

}  // namespace

std::vector<Tick> NiceTicks(double low, double high, int count) {
  std::vector<Tick> ticks;
  if (!(low < high) || !std::isfinite(high - low)) return ticks;
  const double step = NiceStep(low, high, count);
  const double largest = std::max(std::fabs(low), std::fabs(high));
  if (!(step > 0) || largest / step > 1e12) return ticks;
  const double begin = std::ceil(low / step - 1e-6), end = std::floor(high / step + 1e-6);
  for (double i = begin; i <= end; ++i) {
    ticks.push_back({i * step, TickLabel(i * step, step, largest)});
  }
  return ticks;
}

std::vector<Tick> LogTicks(double low, double high, int count) {
  std::vector<Tick> ticks;
  const int first = static_cast<int>(std::floor(std::log10(low) + 1e-9));
  const int last = static_cast<int>(std::ceil(std::log10(high) - 1e-9));
  const int stride = std::max(1, (last - first + count - 1) / std::max(count, 1));
  const bool fine = std::log10(high / low) < 2;
  for (int exponent = first; exponent <= last; exponent += stride) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (factor != 1 && !fine) continue;
      const double value = factor * std::pow(10, exponent);
      if (value < low * (1 - 1e-9) || value > high * (1 + 1e-9)) continue;
      ticks.push_back({value, PowerLabel(value)});
    }
  }
  return ticks;
}

void Axis::Include(double value) {
  if (!Shows(value)) return;
  low_ = any_ ? std::min(low_, value) : value;
  high_ = any_ ? std::max(high_, value) : value;
  any_ = true;
}

void Axis::Settle(bool nice, int ticks) {
  constexpr double kNear = 0.4;       // of a step
  constexpr double kLargest = 1e300;  // keeps differences finite
  if (!any_) {
    low_ = logarithmic_ ? 0.1 : 0;
    high_ = 1;
  }
  low_ = std::clamp(low_, -kLargest, kLargest);
  high_ = std::clamp(high_, -kLargest, kLargest);
  if (logarithmic_) {
    low_ = std::max(low_, 1e-300);
    if (high_ / low_ < 1.0001) {
      low_ /= 2;
      high_ *= 2;
    }
    if (nice) {
      const double margin = std::pow(high_ / low_, 0.04);
      low_ /= margin;
      high_ *= margin;
    }
    ticks_ = LogTicks(low_, high_, ticks);
    return;
  }
  const double size = std::max(std::fabs(low_), std::fabs(high_));
  if (high_ - low_ <= size * 1e-9) {
    const double half = size > 0 ? size * 0.1 : 0.5;
    low_ -= half;
    high_ += half;
  }
  if (nice) {
    const double step = NiceStep(low_, high_, ticks);
    const double below = std::floor(low_ / step + 1e-6) * step;
    const double above = std::ceil(high_ / step - 1e-6) * step;
    const double margin = (high_ - low_) * 0.04;
    low_ = low_ - below <= kNear * step ? below : low_ - margin;
    high_ = above - high_ <= kNear * step ? above : high_ + margin;
  }
  if (whole_) ticks = std::min(ticks, std::max(static_cast<int>(std::min(high_ - low_, 1e6)), 1));
  ticks_ = NiceTicks(low_, high_, ticks);
}

bool Axis::Shows(double value) const {
  return std::isfinite(value) && (!logarithmic_ || value > 0);
}

double Axis::Scaled(double value) const {
  if (logarithmic_) return std::log(value / low_) / std::log(high_ / low_);
  return (value - low_) / (high_ - low_);
}

double Axis::ToPixel(double value) const {
  // Far outside values stay finite for the drawing.
  return pixel_low_ + std::clamp(Scaled(value), -1e3, 1e3) * (pixel_high_ - pixel_low_);
}

}  // namespace graphrun
