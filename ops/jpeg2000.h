// JPEG 2000 images in memory, by OpenJPEG.
#pragma once

#include "ops/image_formats.h"

namespace graphrun {

// Whether the bytes begin as a JP2 file or a bare codestream does.
bool IsJpeg2000(absl::string_view bytes);

// Grey, RGB and YCC images of any depth up to 16 bits, cut or scaled to 8; components of lower
// resolution are repeated. Nothing where the bytes are damaged or more than 2^28 pixels.
absl::optional<RgbImage> DecodeJpeg2000(absl::string_view bytes);

}  // namespace graphrun
