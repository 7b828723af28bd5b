#include "runtime/data/image.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "runtime/base/status.h"
#include "runtime/data/image_codec.h"

namespace graphrun {
namespace {

constexpr uint64_t kMaxPixels = uint64_t{1} << 26;

bool IsPng(absl::string_view bytes) { return absl::StartsWith(bytes, "\x89PNG\r\n\x1a\n"); }
bool IsJpeg(absl::string_view bytes) { return absl::StartsWith(bytes, "\xff\xd8\xff"); }

absl::Status Decode(absl::string_view bytes, const std::string& name, ImageInfo* info,
                    std::vector<uint8_t>* pixels) {
  if (IsPng(bytes)) return DecodePng(bytes, name, info, pixels);
  if (IsJpeg(bytes)) return DecodeJpeg(bytes, name, info, pixels);
  return DataError(name, ": is neither a PNG nor a JPEG file; it begins with \"",
                   absl::CHexEscape(bytes.substr(0, 8)), "\"");
}

// The source pixels [first, first + weights.size()) that make one pixel of a resized line.
struct Taps {
  int64_t first = 0;
  std::vector<float> weights;
};

std::vector<Taps> TriangleTaps(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double reach = std::max(scale, 1.0);
  std::vector<Taps> taps(static_cast<size_t>(to));
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    Taps& t = taps[static_cast<size_t>(i)];
    t.first = std::max<int64_t>(0, static_cast<int64_t>(std::floor(centre - reach)));
    const int64_t end = std::min(from, static_cast<int64_t>(std::ceil(centre + reach)));
    double sum = 0;
    for (int64_t k = t.first; k < end; ++k) {
      const double weight =
          std::max(0.0, 1 - std::abs(static_cast<double>(k) + 0.5 - centre) / reach);
      t.weights.push_back(static_cast<float>(weight));
      sum += weight;
    }
    for (float& weight : t.weights) weight = static_cast<float>(static_cast<double>(weight) / sum);
  }
  return taps;
}

}  // namespace

bool IsImage(absl::string_view bytes) { return IsPng(bytes) || IsJpeg(bytes); }

absl::Status CheckImageSize(const std::string& name, uint64_t height, uint64_t width) {
  if (height > 0 && width > 0 && height <= kMaxPixels && width <= kMaxPixels / height) {
    return absl::OkStatus();
  }
  return DataError(name, ": is an image of ", width, " x ", height, " pixels; at most ", kMaxPixels,
                   " pixels are read");
}

absl::StatusOr<ImageInfo> PeekImage(absl::string_view bytes, const std::string& name) {
  ImageInfo info;
  GR_RETURN_IF_ERROR(Decode(bytes, name, &info, nullptr));
  return info;
}

absl::StatusOr<Image> DecodeImage(absl::string_view bytes, const std::string& name, int channels) {
  std::vector<uint8_t> mixed;
  ImageInfo info;
  GR_RETURN_IF_ERROR(Decode(bytes, name, &info, &mixed));
  Image image;
  image.info = info;
  if (channels != 0) image.info.channels = channels;
  const auto plane = static_cast<size_t>(info.height * info.width);
  image.pixels.resize(plane * static_cast<size_t>(image.info.channels));
  uint8_t* out = image.pixels.data();
  if (info.channels == 1) {
    for (int c = 0; c < image.info.channels; ++c, out += plane) {
      std::copy(mixed.begin(), mixed.end(), out);
    }
  } else if (image.info.channels == 3) {
    for (size_t i = 0; i < plane; ++i) {
      for (size_t c = 0; c < 3; ++c) out[c * plane + i] = mixed[3 * i + c];
    }
  } else {
    for (size_t i = 0; i < plane; ++i) {
      const int red = mixed[3 * i], green = mixed[3 * i + 1], blue = mixed[3 * i + 2];
      out[i] = static_cast<uint8_t>((299 * red + 587 * green + 114 * blue + 500) / 1000);
    }
  }
  return image;
}

Image ResizeImage(const Image& image, int64_t height, int64_t width) {
  const ImageInfo& from = image.info;
  if (from.height == height && from.width == width) return image;
  Image out;
  out.info = {height, width, from.channels};
  out.pixels.reserve(static_cast<size_t>(height * width * from.channels));
  const std::vector<Taps> across = TriangleTaps(from.width, width);
  const std::vector<Taps> down = TriangleTaps(from.height, height);
  std::vector<float> rows(static_cast<size_t>(from.height * width));
  std::vector<float> line(static_cast<size_t>(width));
  for (int c = 0; c < from.channels; ++c) {
    const uint8_t* plane = image.pixels.data() + c * from.height * from.width;
    for (int64_t y = 0; y < from.height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const Taps& t = across[static_cast<size_t>(x)];
        const uint8_t* source = plane + y * from.width + t.first;
        float sum = 0;
        for (size_t k = 0; k < t.weights.size(); ++k) {
          sum += t.weights[k] * static_cast<float>(source[k]);
        }
        rows[static_cast<size_t>(y * width + x)] = sum;
      }
    }
    for (int64_t y = 0; y < height; ++y) {
      const Taps& t = down[static_cast<size_t>(y)];
      std::fill(line.begin(), line.end(), 0.5f);
      for (size_t k = 0; k < t.weights.size(); ++k) {
        const float* row = rows.data() + (t.first + static_cast<int64_t>(k)) * width;
        for (int64_t x = 0; x < width; ++x) {
          line[static_cast<size_t>(x)] += t.weights[k] * row[x];
        }
      }
      for (const float v : line) {
        out.pixels.push_back(static_cast<uint8_t>(std::clamp(v, 0.0f, 255.0f)));
      }
    }
  }
  return out;
}

}  // namespace graphrun
