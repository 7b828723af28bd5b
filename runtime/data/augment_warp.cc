// Transforms that resample: rotation and zoom, bilinear, 0 outside.
#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/data/augment.h"

namespace graphrun {
namespace {

// Output pixel (x, y) reads the input at centre + (xx, xy; yx, yy) * ((x, y) - centre).
struct Warp {
  float xx = 1, xy = 0, yx = 0, yy = 1;
};

// The image with a frame of zeros, one pixel wide above and on the left, two below and on the
// right, and coordinates that are clamped onto the frame: no pixel needs to be asked whether it is
// inside.
void Resample(const float* input, const ImageSize& size, const Warp& warp,
              float* __restrict output) {
  const auto width = static_cast<int>(size.width), height = static_cast<int>(size.height);
  const int stride = width + 3;
  std::vector<float> framed(static_cast<size_t>(stride) * static_cast<size_t>(height + 3));
  const float cx = static_cast<float>(width - 1) * 0.5f;
  const float cy = static_cast<float>(height - 1) * 0.5f;
  const auto max_x = static_cast<float>(width), max_y = static_cast<float>(height);
  for (int64_t c = 0; c < size.channels; ++c, input += size.plane()) {
    for (int y = 0; y < height; ++y) {
      std::copy(input + y * width, input + (y + 1) * width, framed.begin() + (y + 1) * stride + 1);
    }
    const float* __restrict pixels = framed.data();
    for (int y = 0; y < height; ++y, output += width) {
      const float dy = static_cast<float>(y) - cy;
      for (int x = 0; x < width; ++x) {
        const float dx = static_cast<float>(x) - cx;
        const float sx = std::min(std::max(cx + warp.xx * dx + warp.xy * dy, -1.0f), max_x) + 1;
        const float sy = std::min(std::max(cy + warp.yx * dx + warp.yy * dy, -1.0f), max_y) + 1;
        const int x0 = static_cast<int>(sx), y0 = static_cast<int>(sy);
        const float tx = sx - static_cast<float>(x0), ty = sy - static_cast<float>(y0);
        const int at = y0 * stride + x0;
        const float upper = pixels[at] + tx * (pixels[at + 1] - pixels[at]);
        const float lower =
            pixels[at + stride] + tx * (pixels[at + stride + 1] - pixels[at + stride]);
        output[x] = upper + ty * (lower - upper);
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
