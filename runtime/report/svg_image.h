// Charts as images, for where an SVG drawing cannot be shown.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graphrun {

// A drawing that Svg has made, as a PNG file with `scale` pixels a unit. Letters are lines of one
// font, whatever the drawing names. Errors: kData for what Svg does not write, kLimit for drawings
// above 64 million pixels.
absl::StatusOr<std::string> SvgToPng(absl::string_view svg, double scale = 1.5);

}  // namespace graphrun
