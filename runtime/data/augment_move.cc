// Transforms that move whole pixels: flips, shift, crop, cutout.
#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/base/status.h"
#include "runtime/data/augment.h"

namespace graphrun {
namespace {

constexpr double kCopyCost = 0.3;

// Copies the window of `size` whose upper left corner lies at (top, left) of `input`; what lies
// outside is 0.
void CopyWindow(const float* input, const ImageSize& from, int64_t top, int64_t left,
                const ImageSize& size, float* output) {
  const int64_t x0 = std::clamp<int64_t>(-left, 0, size.width);
  const int64_t x1 = std::clamp<int64_t>(from.width - left, x0, size.width);
  for (int64_t c = 0; c < size.channels; ++c) {
    for (int64_t y = 0; y < size.height; ++y, output += size.width) {
      const int64_t source = y + top;
      if (source < 0 || source >= from.height || x0 == x1) {
        std::fill(output, output + size.width, 0.0f);
        continue;
      }
      const float* row = input + c * from.plane() + source * from.width;
      std::fill(output, output + x0, 0.0f);
      std::copy(row + x0 + left, row + x1 + left, output + x0);
      std::fill(output + x1, output + size.width, 0.0f);
    }
  }
}

int64_t Between(Rng* rng, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(rng->Below(static_cast<uint64_t>(high - low + 1)));
}

class Flip : public ImageTransform {
 public:
  Flip(bool horizontal, double probability) : horizontal_(horizontal), probability_(probability) {}
  std::string ToString() const override {
    return absl::StrCat(horizontal_ ? "hflip:" : "vflip:", probability_);
  }
  double Cost() const override { return kCopyCost; }
  absl::Status Apply(const float* input, const Dims& dims, Rng* rng, float* output) const override {
    const ImageSize size = ImageSizeOf(dims);
    const int64_t rows = size.channels * size.height;
    if (rng->Uniform() >= probability_) {
      std::copy(input, input + rows * size.width, output);
      return absl::OkStatus();
    }
    for (int64_t r = 0; r < rows; ++r, output += size.width) {
      const int64_t c = r / size.height, y = r % size.height;
      const float* row =
          input + (horizontal_ ? r : c * size.height + size.height - 1 - y) * size.width;
      if (horizontal_) {
        std::reverse_copy(row, row + size.width, output);
      } else {
        std::copy(row, row + size.width, output);
      }
    }
    return absl::OkStatus();
  }

 private:
  bool horizontal_;
  double probability_;
};

class Shift : public ImageTransform {
 public:
  explicit Shift(int64_t pixels) : pixels_(pixels) {}
  std::string ToString() const override { return absl::StrCat("shift:", pixels_); }
  double Cost() const override { return kCopyCost; }
  absl::Status Apply(const float* input, const Dims& dims, Rng* rng, float* output) const override {
    const ImageSize size = ImageSizeOf(dims);
    const int64_t top = Between(rng, -pixels_, pixels_);
    const int64_t left = Between(rng, -pixels_, pixels_);
    CopyWindow(input, size, top, left, size, output);
    return absl::OkStatus();
  }

 private:
  int64_t pixels_;
};

class Crop : public ImageTransform {
 public:
  Crop(int64_t height, int64_t width, int64_t padding)
      : height_(height), width_(width), padding_(padding) {}
  std::string ToString() const override {
    return absl::StrCat("crop:", height_, height_ == width_ ? "" : absl::StrCat("x", width_),
                        padding_ == 0 ? "" : absl::StrCat(":", padding_));
  }
  absl::StatusOr<Dims> OutputDims(const Dims& dims) const override {
    GR_ASSIGN_OR_RETURN(Dims out, ImageTransform::OutputDims(dims));
    const ImageSize size = ImageSizeOf(dims);
    if (height_ > size.height + 2 * padding_ || width_ > size.width + 2 * padding_) {
      return DataError("a window of ", height_, " x ", width_, " does not fit into an image of ",
                       size.height, " x ", size.width, " with ", padding_,
                       " pixels around it; choose a smaller window or more padding");
    }
    out[out.size() - 2] = height_;
    out[out.size() - 1] = width_;
    return out;
  }
  double Cost() const override { return kCopyCost; }
  absl::Status Apply(const float* input, const Dims& dims, Rng* rng, float* output) const override {
    const ImageSize size = ImageSizeOf(dims);
    const int64_t top = Between(rng, -padding_, size.height + padding_ - height_);
    const int64_t left = Between(rng, -padding_, size.width + padding_ - width_);
    CopyWindow(input, size, top, left, {size.channels, height_, width_}, output);
    return absl::OkStatus();
  }

 private:
  int64_t height_, width_, padding_;
};

class Cutout : public ImageTransform {
 public:
  explicit Cutout(int64_t side) : side_(side) {}
  std::string ToString() const override { return absl::StrCat("cutout:", side_); }
  double Cost() const override { return kCopyCost; }
  absl::Status Apply(const float* input, const Dims& dims, Rng* rng, float* output) const override {
    const ImageSize size = ImageSizeOf(dims);
    std::copy(input, input + size.channels * size.plane(), output);
    const int64_t top = Between(rng, 0, size.height - 1) - side_ / 2;
    const int64_t left = Between(rng, 0, size.width - 1) - side_ / 2;
    const int64_t y0 = std::max<int64_t>(top, 0), y1 = std::min(top + side_, size.height);
    const int64_t x0 = std::max<int64_t>(left, 0), x1 = std::min(left + side_, size.width);
    for (int64_t c = 0; c < size.channels; ++c) {
      for (int64_t y = y0; y < y1 && x0 < x1; ++y) {
        float* row = output + c * size.plane() + y * size.width;
        std::fill(row + x0, row + x1, 0.0f);
      }
    }
    return absl::OkStatus();
  }

 private:
  int64_t side_;
};

}  // namespace

ImageSize ImageSizeOf(const Dims& dims) {
  GR_CHECK(dims.size() == 2 || dims.size() == 3);
  const size_t n = dims.size();
  return {n == 3 ? dims[0] : 1, dims[n - 2], dims[n - 1]};
}

absl::StatusOr<Dims> ImageTransform::OutputDims(const Dims& dims) const {
  if ((dims.size() != 2 && dims.size() != 3) || Product(dims) == 0) {
    return DataError("wants images [height, width] or [channels, height, width]; the samples are ",
                     DimsToString(dims));
  }
  constexpr int64_t kMaxSide = 1 << 15;  // so that a plane's elements can be counted by int
  if (dims[dims.size() - 1] > kMaxSide || dims[dims.size() - 2] > kMaxSide) {
    return DataError("works on images of up to ", kMaxSide, " x ", kMaxSide,
                     " pixels; the samples are ", DimsToString(dims));
  }
  return dims;
}

std::shared_ptr<const Transform> FlipTransform(bool horizontal, double probability) {
  return std::make_shared<Flip>(horizontal, probability);
}
std::shared_ptr<const Transform> ShiftTransform(int64_t pixels) {
  return std::make_shared<Shift>(pixels);
}
std::shared_ptr<const Transform> CropTransform(int64_t height, int64_t width, int64_t padding) {
  return std::make_shared<Crop>(height, width, padding);
}
std::shared_ptr<const Transform> CutoutTransform(int64_t side) {
  return std::make_shared<Cutout>(side);
}

}  // namespace graphrun
