// The two decoders behind image.h. Both give rows of interleaved pixels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/data/image.h"

namespace graphrun {

// Reads the header, and where `pixels` is not null the image: [height, width, info.channels].
absl::Status DecodePng(absl::string_view bytes, const std::string& name, ImageInfo* info,
                       std::vector<uint8_t>* pixels);
absl::Status DecodeJpeg(absl::string_view bytes, const std::string& name, ImageInfo* info,
                        std::vector<uint8_t>* pixels);

// Ok for sizes that are decoded. Errors: DataError, with `name`.
absl::Status CheckImageSize(const std::string& name, uint64_t height, uint64_t width);

}  // namespace graphrun
