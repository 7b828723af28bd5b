#include "ops/roi_bins.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/status.h"

namespace graphrun {
namespace {

absl::Status CheckBox(const double* box) {
  for (int i = 0; i < 4; ++i) {
    if (!(std::fabs(box[i]) < 1e9)) {
      return ModelError("a region has the coordinate ", box[i], ", which is no place of an image");
    }
  }
  return absl::OkStatus();
}

// Adds a bilinear sample at (y, x), its weight shared by its corners.
void AddSample(const RoiBins& b, double y, double x, double share, RoiBin* bin) {
  const auto height = static_cast<double>(b.height), width = static_cast<double>(b.width);
  if (y < -1 || y > height || x < -1 || x > width) {
    bin->index.push_back(0);
    bin->weight.push_back(0);
    return;
  }
  y = std::clamp(y, 0.0, height - 1);
  x = std::clamp(x, 0.0, width - 1);
  const auto y0 = static_cast<int64_t>(y), x0 = static_cast<int64_t>(x);
  const int64_t y1 = std::min(y0 + 1, b.height - 1), x1 = std::min(x0 + 1, b.width - 1);
  const double ly = y - static_cast<double>(y0), lx = x - static_cast<double>(x0);
  const int64_t index[] = {y0 * b.width + x0, y0 * b.width + x1, y1 * b.width + x0,
                           y1 * b.width + x1};
  const double weight[] = {(1 - ly) * (1 - lx), (1 - ly) * lx, ly * (1 - lx), ly * lx};
  for (int i = 0; i < 4; ++i) {
    bin->index.push_back(index[i]);
    bin->weight.push_back(weight[i] * share);
  }
}

}  // namespace

absl::Status RoiBins::Align(const double* box, std::vector<RoiBin>* bins) const {
  GR_RETURN_IF_ERROR(CheckBox(box));
  const double offset = half_pixel ? 0.5 : 0;
  const double x = box[0] * scale - offset, y = box[1] * scale - offset;
  double w = box[2] * scale - offset - x, h = box[3] * scale - offset - y;
  if (!half_pixel) {
    w = std::max(w, 1.0);
    h = std::max(h, 1.0);
  }
  const double bin_h = h / static_cast<double>(pooled_height);
  const double bin_w = w / static_cast<double>(pooled_width);
  const double grid_h = sampling > 0 ? static_cast<double>(sampling) : std::ceil(bin_h);
  const double grid_w = sampling > 0 ? static_cast<double>(sampling) : std::ceil(bin_w);
  bins->assign(static_cast<size_t>(pooled_height * pooled_width), RoiBin());
  if (height == 0 || width == 0 || grid_h < 1 || grid_w < 1) return absl::OkStatus();
  if (grid_h * grid_w * static_cast<double>(pooled_height * pooled_width) > 1e8) {
    return LimitError("a region of ", h, " by ", w, " pixels needs too many samples");
  }
  const double share = max ? 1 : 1 / (grid_h * grid_w);
  for (int64_t ph = 0; ph < pooled_height; ++ph) {
    for (int64_t pw = 0; pw < pooled_width; ++pw) {
      RoiBin& bin = (*bins)[static_cast<size_t>(ph * pooled_width + pw)];
      for (double iy = 0.5; iy < grid_h; ++iy) {
        for (double ix = 0.5; ix < grid_w; ++ix) {
          AddSample(*this, y + static_cast<double>(ph) * bin_h + iy * bin_h / grid_h,
                    x + static_cast<double>(pw) * bin_w + ix * bin_w / grid_w, share, &bin);
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status RoiBins::Pool(const double* box, std::vector<RoiBin>* bins) const {
  GR_RETURN_IF_ERROR(CheckBox(box));
  const double x0 = std::round(box[0] * scale), y0 = std::round(box[1] * scale);
  const double x1 = std::round(box[2] * scale), y1 = std::round(box[3] * scale);
  // Malformed regions are one pixel.
  const double bin_h = std::max(y1 - y0 + 1, 1.0) / static_cast<double>(pooled_height);
  const double bin_w = std::max(x1 - x0 + 1, 1.0) / static_cast<double>(pooled_width);
  const auto clip = [](double v, int64_t size) {
    return static_cast<int64_t>(std::clamp(v, 0.0, static_cast<double>(size)));
  };
  bins->assign(static_cast<size_t>(pooled_height * pooled_width), RoiBin());
  for (int64_t ph = 0; ph < pooled_height; ++ph) {
    const auto p = static_cast<double>(ph);
    const int64_t top = clip(std::floor(p * bin_h) + y0, height);
    const int64_t bottom = clip(std::ceil((p + 1) * bin_h) + y0, height);
    for (int64_t pw = 0; pw < pooled_width; ++pw) {
      const auto q = static_cast<double>(pw);
      const int64_t left = clip(std::floor(q * bin_w) + x0, width);
      const int64_t right = clip(std::ceil((q + 1) * bin_w) + x0, width);
      RoiBin& bin = (*bins)[static_cast<size_t>(ph * pooled_width + pw)];
      for (int64_t row = top; row < bottom; ++row) {
        for (int64_t column = left; column < right; ++column) {
          bin.index.push_back(row * width + column);
          bin.weight.push_back(1);
        }
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace graphrun
