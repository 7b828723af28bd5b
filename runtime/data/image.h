// Images: PNG and JPEG files in memory, decoded to bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graphrun {

// What a file's header says.
struct ImageInfo {
  int64_t height = 0, width = 0;
  int channels = 0;  // 1 (grey) or 3 (RGB)
};

// Pixels by channel, [channels, height, width]: red, green and blue planes, or one grey.
struct Image {
  ImageInfo info;
  std::vector<uint8_t> pixels;
};

// True for bytes that begin like a PNG or JPEG file.
bool IsImage(absl::string_view bytes);

// Reads the header only. Transparency is ignored, palettes count as RGB. `name` is the file, for
// messages. Errors: DataError for a damaged file, one of another format, more than 2^26 pixels.
absl::StatusOr<ImageInfo> PeekImage(absl::string_view bytes, const std::string& name);

// Decodes; grey becomes RGB and the other way round (ITU-R BT.601) where `channels` (1 or 3) asks;
// 0 keeps what there is. 16-bit samples keep their upper 8 bits. Colour profiles, gamma and EXIF's
// orientation are not applied. Errors: those of PeekImage; DataError for a file that is cut off.
absl::StatusOr<Image> DecodeImage(absl::string_view bytes, const std::string& name,
                                  int channels = 0);

// Resized by a triangle filter: bilinear where it grows, an average of what each pixel covers where
// it shrinks. REQUIRES: height, width > 0.
Image ResizeImage(const Image& image, int64_t height, int64_t width);

}  // namespace graphrun
