// Transforms of values where they are: noise, brightness, contrast.
#include <algorithm>
#include <cmath>

#include "runtime/base/status.h"
#include "runtime/data/augment.h"

namespace graphrun {
namespace {

// Two draws of N(0, 1) from one 64-bit word (Box and Muller).
inline void Normals(uint64_t word, float* a, float* b) {
  const float u = (static_cast<float>(word >> 40) + 1.0f) * 0x1p-24f;
  const float v = static_cast<float>((word >> 8) & 0xFFFFFF) * 0x1p-24f;
  const float radius = std::sqrt(-2.0f * std::log(u));
  *a = radius * std::cos(6.2831853f * v);
  *b = radius * std::sin(6.2831853f * v);
}

class Noise : public ImageTransform {
 public:
  Noise(double amount, double range) : amount_(amount), range_(range) {}
  std::string ToString() const override { return absl::StrCat("noise:", amount_); }
  double Cost() const override { return 10; }
  absl::Status Apply(const float* input, const Dims& dims, Rng* rng, float* output) const override {
    const auto deviation = static_cast<float>(amount_ * range_);
    const int64_t count = Product(dims);
    for (int64_t i = 0; i < count; i += 2) {
      float a, b;
      Normals(rng->Next64(), &a, &b);
      output[i] = input[i] + deviation * a;
      if (i + 1 < count) output[i + 1] = input[i + 1] + deviation * b;
    }
    return absl::OkStatus();
  }

 private:
  double amount_, range_;
};

class Brightness : public ImageTransform {
 public:
  Brightness(double amount, double range) : amount_(amount), range_(range) {}
  std::string ToString() const override { return absl::StrCat("brightness:", amount_); }
  absl::Status Apply(const float* input, const Dims& dims, Rng* rng, float* output) const override {
    const auto change = static_cast<float>(rng->Uniform(-amount_, amount_) * range_);
    std::transform(input, input + Product(dims), output, [=](float v) { return v + change; });
    return absl::OkStatus();
  }

 private:
  double amount_, range_;
};

class Contrast : public ImageTransform {
 public:
  explicit Contrast(double amount) : amount_(amount) {}
  std::string ToString() const override { return absl::StrCat("contrast:", amount_); }
  absl::Status Apply(const float* input, const Dims& dims, Rng* rng, float* output) const override {
    const int64_t count = Product(dims);
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(input[i]);
    const auto mean = static_cast<float>(sum / static_cast<double>(count));
    const auto factor = static_cast<float>(rng->Uniform(1 - amount_, 1 + amount_));
    std::transform(input, input + count, output,
                   [=](float v) { return mean + factor * (v - mean); });
    return absl::OkStatus();
  }

 private:
  double amount_;
};

}  // namespace

std::shared_ptr<const Transform> NoiseTransform(double amount, double range) {
  return std::make_shared<Noise>(amount, range);
}
std::shared_ptr<const Transform> BrightnessTransform(double amount, double range) {
  return std::make_shared<Brightness>(amount, range);
}
std::shared_ptr<const Transform> ContrastTransform(double amount) {
  return std::make_shared<Contrast>(amount);
}

}  // namespace graphrun
