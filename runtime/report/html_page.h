// HtmlPage: one self-contained page of tiles, tables and drawings. No scripts, nothing loaded from
// elsewhere.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace graphrun {

// All text is escaped here; drawings are taken as they are.
class HtmlPage {
 public:
  HtmlPage(absl::string_view title, absl::string_view subtitle);

  void Section(absl::string_view heading);
  // Numbers that matter, large: {"best val accuracy", "0.9817"}.
  void Tiles(absl::Span<const std::pair<std::string, std::string>> tiles);
  // A yellow box: a name and what it says.
  void Warning(absl::string_view name, absl::string_view text);
  // Names and values in two columns.
  void Pairs(absl::Span<const std::pair<std::string, std::string>> rows);
  // Cells that read as numbers stand to the right.
  void Table(absl::Span<const std::string> header, absl::Span<const std::vector<std::string>> rows);
  // SVG drawings, beside each other where there is room.
  void Charts(absl::Span<const std::string> svgs);
  void Text(absl::string_view text);
  // Preformatted text behind a line that opens it.
  void Folded(absl::string_view summary, absl::string_view text);

  std::string Finish();

 private:
  std::string html_;
};

}  // namespace graphrun
