// RoiBins: the bins of a region of an image, for RoiAlign and MaxRoiPool and their gradients.
#pragma once

#include <vector>

#include "absl/status/status.h"

namespace graphrun {

// What one output element reads: elements of a channel and their weights.
struct RoiBin {
  std::vector<int64_t> index;
  std::vector<double> weight;

  // The weighted sum; with `max` the largest weighted element, 0 where there is none.
  template <typename T>
  double Value(const T* channel, bool max) const {
    double value = 0;
    for (size_t i = 0; i < index.size(); ++i) {
      const double v = weight[i] * static_cast<double>(channel[index[i]]);
      value = !max ? value + v : i == 0 || v > value ? v : value;
    }
    return value;
  }
  // Adds the gradient of Value times dy to `sums`; with `max` to the first largest element.
  template <typename T>
  void AddGradient(double dy, const T* channel, double* sums, bool max) const {
    size_t best = 0;
    for (size_t i = 0; i < index.size(); ++i) {
      if (!max) {
        sums[index[i]] += weight[i] * dy;
      } else if (weight[i] * static_cast<double>(channel[index[i]]) >
                 weight[best] * static_cast<double>(channel[index[best]])) {
        best = i;
      }
    }
    if (max && !index.empty()) sums[index[best]] += weight[best] * dy;
  }
};

struct RoiBins {
  int64_t batch = 0, channels = 0, height = 0, width = 0;
  int64_t pooled_height = 1, pooled_width = 1;
  double scale = 1;
  int64_t sampling = 0;  // samples a bin and axis; 0: as many as the bin has pixels
  bool half_pixel = true, max = false;

  // The bins of region box = (x1, y1, x2, y2), row by row. Errors where it is no finite region or
  // too large.
  absl::Status Align(const double* box, std::vector<RoiBin>* bins) const;
  absl::Status Pool(const double* box, std::vector<RoiBin>* bins) const;
};

}  // namespace graphrun
