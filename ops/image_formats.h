// Image files in memory, decoded to 8-bit RGB: what ImageDecoder reads.
#pragma once

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace graphrun {

// Pixels row by row, red, green and blue of each together: [height, width, 3].
struct RgbImage {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> pixels;
};

// Decodes PNG, JPEG, BMP (8, 24 and 32 bits without compression), TIFF, WebP, JPEG 2000 and PNM
// (P1 to P6).
// Transparency is dropped. Nothing where the bytes are damaged, of another format, or more than
// 2^28 pixels.
absl::optional<RgbImage> DecodeRgb(absl::string_view bytes);

}  // namespace graphrun
