// Svg: builds one drawing. Coordinates are pixels, the origin is the upper left corner.
#pragma once

#include <array>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace graphrun {

// The colours that all charts share.
struct Palette {
  static constexpr const char* kInk = "#1f2937";    // titles, values
  static constexpr const char* kMuted = "#6b7280";  // tick labels, axis labels
  static constexpr const char* kAxis = "#9ca3af";
  static constexpr const char* kGrid = "#e5e7eb";
  static constexpr const char* kPaper = "#ffffff";
  // The colour of series or class `i`: ten that also differ for the colour-blind, then again.
  static const char* Series(size_t i);
};

// Text for XML: <, >, &, quotes escaped; characters that XML forbids and broken UTF-8 replaced.
std::string XmlEscape(absl::string_view text);

// About how wide `text` is at `size` pixels in a sans-serif font.
double TextWidth(absl::string_view text, double size);

enum class Anchor { kStart, kMiddle, kEnd };

// The look of a text.
struct TextStyle {
  double size = 12;
  const char* color = Palette::kMuted;
  Anchor anchor = Anchor::kStart;
  bool bold = false;
  double rotate = 0;  // degrees, clockwise about its position
  bool halo = false;  // a white edge, to be readable on lines
};

class Svg {
 public:
  using Point = std::pair<double, double>;

  Svg(double width, double height);

  // `style` is attributes, for instance "fill=\"red\"".
  void Line(double x1, double y1, double x2, double y2, absl::string_view style);
  void Rect(double x, double y, double width, double height, absl::string_view style,
            absl::string_view tooltip = "");
  void Circle(double x, double y, double radius, absl::string_view style,
              absl::string_view tooltip = "");
  void Polyline(absl::Span<const Point> points, absl::string_view style);
  // Rectangles {x, y, width, height} in one colour, in little text.
  void Rects(absl::Span<const std::array<double, 4>> rects, absl::string_view style);
  void Polygon(absl::Span<const Point> points, absl::string_view style);
  // y is that of the base line.
  void Text(double x, double y, absl::string_view text, const TextStyle& style = {});
  // What is drawn until EndClip shows inside the rectangle only; coordinates stay as they are.
  void BeginClip(double x, double y, double width, double height);
  void EndClip();

  // The document, to stand in a file or inside a page.
  std::string Finish();

 private:
  std::string text_;
};

}  // namespace graphrun
