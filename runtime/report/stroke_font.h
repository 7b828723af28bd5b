// StrokeFont: letters as lines, for charts as images: no font file is looked for, so that a chart
// looks the same on every machine.
#pragma once

#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace graphrun {

struct StrokeText {
  std::vector<std::vector<std::pair<double, double>>> lines;  // y downwards, the base line at 0
  double width = 0;
};

// UTF-8 text in letters of `size` pixels; a character that the font lacks is an empty box.
StrokeText StrokeLetters(absl::string_view text, double size);

}  // namespace graphrun
