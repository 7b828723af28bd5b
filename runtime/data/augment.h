// The built-in transforms on images, [H, W] or [C, H, W]; ParseTransforms says what each does.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/base/shape.h"
#include "runtime/data/transform.h"

namespace graphrun {

struct ImageSize {
  int64_t channels = 1, height = 0, width = 0;
  int64_t plane() const { return height * width; }
};

// Sizes of a sample as an image. REQUIRES: two or three axes.
ImageSize ImageSizeOf(const Dims& dims);

// What the transforms below have in common: images only, sizes kept unless said otherwise.
class ImageTransform : public Transform {
 public:
  absl::StatusOr<Dims> OutputDims(const Dims& dims) const override;
};

std::shared_ptr<const Transform> FlipTransform(bool horizontal, double probability);
std::shared_ptr<const Transform> ShiftTransform(int64_t pixels);
std::shared_ptr<const Transform> CropTransform(int64_t height, int64_t width, int64_t padding);
std::shared_ptr<const Transform> CutoutTransform(int64_t side);
std::shared_ptr<const Transform> RotateTransform(double degrees);
std::shared_ptr<const Transform> ScaleTransform(double factor);
// `amount` as in the specification; the change is amount * range.
std::shared_ptr<const Transform> NoiseTransform(double amount, double range);
std::shared_ptr<const Transform> BrightnessTransform(double amount, double range);
std::shared_ptr<const Transform> ContrastTransform(double amount);

}  // namespace graphrun
