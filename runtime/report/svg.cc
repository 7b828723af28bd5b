#include "runtime/report/svg.h"

#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/report/utf8.h"

namespace graphrun {
namespace {

constexpr char kFont[] =
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', "
    "sans-serif";

// A coordinate: two decimals, without zeros at the end.
std::string Num(double value) {
  if (!std::isfinite(value)) return "0";
  std::string text = absl::StrFormat("%.2f", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string Coordinates(absl::Span<const Svg::Point> points) {
  std::string text;
  for (const Svg::Point& p : points) {
    absl::StrAppend(&text, text.empty() ? "" : " ", Num(p.first), ",", Num(p.second));
  }
  return text;
}

// "/>" or, with a tooltip, its element and the end tag.
std::string Close(absl::string_view element, absl::string_view tooltip) {
  if (tooltip.empty()) return "/>\n";
  return absl::StrCat("><title>", XmlEscape(tooltip), "</title></", element, ">\n");
}

}  // namespace

const char* Palette::Series(size_t i) {
  constexpr std::array<const char*, 10> kColors = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                   "#e69f00", "#56b4e9", "#7b4fa3", "#8c6d31",
                                                   "#4d4d4d", "#b22222"};
  return kColors[i % kColors.size()];
}

std::string XmlEscape(absl::string_view text) {
  std::string escaped;
  for (const char c : ValidUtf8(text)) {
    switch (c) {
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default: {
        const auto byte = static_cast<unsigned char>(c);
        escaped += byte < 0x20 && c != '\n' && c != '\t' ? '?' : c;
      }
    }
  }
  return escaped;
}

double TextWidth(absl::string_view text, double size) {
  double ems = 0;
  while (!text.empty()) {
    const char c = text[0];
    if (absl::string_view("iljtfI.,:;'|!()[] -").find(c) != absl::string_view::npos) {
      ems += 0.31;
    } else if (absl::string_view("mwMW@%").find(c) != absl::string_view::npos) {
      ems += 0.87;
    } else if (c >= 'A' && c <= 'Z') {
      ems += 0.69;
    } else {
      ems += 0.56;
    }
    const int length = Utf8Length(text);
    text.remove_prefix(length == 0 ? 1 : static_cast<size_t>(length));
  }
  return ems * size;
}

Svg::Svg(double width, double height) {
  text_ = absl::StrCat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", Num(width),
                       "\" height=\"", Num(height), "\" viewBox=\"0 0 ", Num(width), " ",
                       Num(height), "\" font-family=\"", kFont, "\" role=\"img\">\n");
  Rect(0, 0, width, height, absl::StrCat("fill=\"", Palette::kPaper, "\""));
}

void Svg::Line(double x1, double y1, double x2, double y2, absl::string_view style) {
  absl::StrAppend(&text_, "<line x1=\"", Num(x1), "\" y1=\"", Num(y1), "\" x2=\"", Num(x2),
                  "\" y2=\"", Num(y2), "\" ", style, "/>\n");
}

void Svg::Rect(double x, double y, double width, double height, absl::string_view style,
               absl::string_view tooltip) {
  absl::StrAppend(&text_, "<rect x=\"", Num(x), "\" y=\"", Num(y), "\" width=\"", Num(width),
                  "\" height=\"", Num(height), "\" ", style, Close("rect", tooltip));
}

void Svg::Circle(double x, double y, double radius, absl::string_view style,
                 absl::string_view tooltip) {
  absl::StrAppend(&text_, "<circle cx=\"", Num(x), "\" cy=\"", Num(y), "\" r=\"", Num(radius),
                  "\" ", style, Close("circle", tooltip));
}

void Svg::Polyline(absl::Span<const Point> points, absl::string_view style) {
  absl::StrAppend(&text_, "<polyline points=\"", Coordinates(points), "\" fill=\"none\" ", style,
                  "/>\n");
}

void Svg::Rects(absl::Span<const std::array<double, 4>> rects, absl::string_view style) {
  absl::StrAppend(&text_, "<path d=\"");
  for (const auto& r : rects) {
    absl::StrAppend(&text_, "M", Num(r[0]), " ", Num(r[1]), "h", Num(r[2]), "v", Num(r[3]), "h",
                    Num(-r[2]), "z");
  }
  absl::StrAppend(&text_, "\" ", style, "/>\n");
}

void Svg::Polygon(absl::Span<const Point> points, absl::string_view style) {
  absl::StrAppend(&text_, "<polygon points=\"", Coordinates(points), "\" ", style, "/>\n");
}

void Svg::Text(double x, double y, absl::string_view text, const TextStyle& style) {
  constexpr std::array<const char*, 3> kAnchors = {"", " text-anchor=\"middle\"",
                                                   " text-anchor=\"end\""};
  std::string attributes = absl::StrCat(
      "x=\"", Num(x), "\" y=\"", Num(y), "\" font-size=\"", Num(style.size), "\"",
      kAnchors[static_cast<size_t>(style.anchor)], style.bold ? " font-weight=\"600\"" : "");
  if (style.rotate != 0) {
    absl::StrAppend(&attributes, " transform=\"rotate(", Num(style.rotate), " ", Num(x), " ",
                    Num(y), ")\"");
  }
  const std::string escaped = XmlEscape(text);
  if (style.halo) {
    absl::StrAppend(&text_, "<text ", attributes, " fill=\"", Palette::kPaper, "\" stroke=\"",
                    Palette::kPaper, "\" stroke-width=\"4\" stroke-linejoin=\"round\" ",
                    "aria-hidden=\"true\">", escaped, "</text>\n");
  }
  absl::StrAppend(&text_, "<text ", attributes, " fill=\"", style.color, "\">", escaped,
                  "</text>\n");
}

void Svg::BeginClip(double x, double y, double width, double height) {
  // A nested drawing clips without an id, which would have to be unique in a page.
  absl::StrAppend(&text_, "<svg x=\"", Num(x), "\" y=\"", Num(y), "\" width=\"", Num(width),
                  "\" height=\"", Num(height), "\" viewBox=\"", Num(x), " ", Num(y), " ",
                  Num(width), " ", Num(height), "\" overflow=\"hidden\">\n");
}

void Svg::EndClip() { absl::StrAppend(&text_, "</svg>\n"); }

std::string Svg::Finish() {
  absl::StrAppend(&text_, "</svg>\n");
  return std::move(text_);
}

}  // namespace graphrun
