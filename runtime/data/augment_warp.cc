// Transforms that resample: rotation and zoom, bilinear, 0 outside.
#include <cmath>

#include "runtime/base/status.h"
#include "runtime/data/augment.h"

namespace graphrun {
namespace {

// Output pixel (x, y) reads the input at centre + (xx, xy; yx, yy) * ((x, y) - centre).
struct Warp {
  float xx = 1, xy = 0, yx = 0, yy = 1;
};

void Resample(const float* input, const ImageSize& size, const Warp& warp, float* output) {
  const int64_t width = size.width, height = size.height, plane = size.plane();
  const float cx = static_cast<float>(width - 1) * 0.5f;
  const float cy = static_cast<float>(height - 1) * 0.5f;
  for (int64_t y = 0; y < height; ++y) {
    const float dy = static_cast<float>(y) - cy;
    for (int64_t x = 0; x < width; ++x, ++output) {
      const float dx = static_cast<float>(x) - cx;
      const float sx = cx + warp.xx * dx + warp.xy * dy;
      const float sy = cy + warp.yx * dx + warp.yy * dy;
      const float fx = std::floor(sx), fy = std::floor(sy);
      const auto x0 = static_cast<int64_t>(fx), y0 = static_cast<int64_t>(fy);
      const float tx = sx - fx, ty = sy - fy;
      if (x0 < -1 || y0 < -1 || x0 >= width || y0 >= height) {
        for (int64_t c = 0; c < size.channels; ++c) output[c * plane] = 0;
        continue;
      }
      const bool left = x0 >= 0, right = x0 + 1 < width, top = y0 >= 0, bottom = y0 + 1 < height;
      int64_t corner = y0 * width + x0;
      for (int64_t c = 0; c < size.channels; ++c, corner += plane) {
        const float a = left && top ? input[corner] : 0;
        const float b = right && top ? input[corner + 1] : 0;
        const float d = left && bottom ? input[corner + width] : 0;
        const float e = right && bottom ? input[corner + width + 1] : 0;
        const float upper = a + tx * (b - a), lower = d + tx * (e - d);
        output[c * plane] = upper + ty * (lower - upper);
      }
    }
  }
}

class Rotate : public ImageTransform {
 public:
  explicit Rotate(double degrees) : degrees_(degrees) {}
  std::string ToString() const override { return absl::StrCat("rotate:", degrees_); }
  absl::Status Apply(const float* input, const Dims& dims, Rng* rng, float* output) const override {
    const double angle = rng->Uniform(-degrees_, degrees_) * (3.141592653589793 / 180);
    const auto c = static_cast<float>(std::cos(angle)), s = static_cast<float>(std::sin(angle));
    Resample(input, ImageSizeOf(dims), {c, s, -s, c}, output);
    return absl::OkStatus();
  }

 private:
  double degrees_;
};

class Scale : public ImageTransform {
 public:
  explicit Scale(double factor) : factor_(factor) {}
  std::string ToString() const override { return absl::StrCat("scale:", factor_); }
  absl::Status Apply(const float* input, const Dims& dims, Rng* rng, float* output) const override {
    const auto zoom = static_cast<float>(1 / rng->Uniform(1 - factor_, 1 + factor_));
    Resample(input, ImageSizeOf(dims), {zoom, 0, 0, zoom}, output);
    return absl::OkStatus();
  }

 private:
  double factor_;
};

}  // namespace

std::shared_ptr<const Transform> RotateTransform(double degrees) {
  return std::make_shared<Rotate>(degrees);
}
std::shared_ptr<const Transform> ScaleTransform(double factor) {
  return std::make_shared<Scale>(factor);
}

}  // namespace graphrun
