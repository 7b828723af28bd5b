#include "runtime/report/frame.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/report/utf8.h"

namespace graphrun {
namespace {

constexpr double kMargin = 20;
constexpr double kTickSize = 12, kLabelSize = 12.5, kLegendSize = 12.5;

std::string Stroke(const char* color, const char* width) {
  return absl::StrCat("stroke=\"", color, "\" stroke-width=\"", width, "\"");
}

}  // namespace

std::string FitText(const std::string& text, double size, double width) {
  if (TextWidth(text, size) <= width) return text;
  std::string fit;
  absl::string_view rest = text;
  while (!rest.empty()) {
    const auto length = static_cast<size_t>(std::max(Utf8Length(rest), 1));
    const std::string longer = absl::StrCat(fit, rest.substr(0, length));
    if (TextWidth(longer, size) + 0.6 * size > width) break;
    fit = longer;
    rest.remove_prefix(length);
  }
  return absl::StrCat(fit, "…");
}

void DrawStar(Svg* svg, double x, double y, double radius, const char* color) {
  std::vector<Svg::Point> points;
  for (int i = 0; i < 10; ++i) {
    const double r = i % 2 == 0 ? radius : radius * 0.45;
    const double angle = (i * 36 - 90) * 3.14159265358979 / 180;
    points.emplace_back(x + r * std::cos(angle), y + r * std::sin(angle));
  }
  svg->Polygon(points, absl::StrCat("fill=\"", color,
                                    "\" stroke=\"#fff\" stroke-width=\"1.5\" "
                                    "stroke-linejoin=\"round\""));
}

Frame::Frame(const PlotFrame& plot, const std::vector<LegendEntry>& legend)
    : plot_(plot), svg_(plot.width, plot.height) {
  area_ = {kMargin, kMargin, plot.width - kMargin - 4.0, plot.height - kMargin};
  const double room = area_.right - area_.left;
  if (!plot.title.empty() || !plot.note.empty()) {
    const std::string title = FitText(plot.title, 17, room * 1.05);
    svg_.Text(area_.left, area_.top + 12, title,
              {.size = 16, .color = Palette::kInk, .bold = true});
    const double used = TextWidth(title, 17) + 14;
    if (!plot.note.empty() && used + 60 < room) {
      svg_.Text(area_.right, area_.top + 12, FitText(plot.note, 12, room - used),
                {.anchor = Anchor::kEnd});
    }
    area_.top += 30;
  }
  double x = area_.left, y = area_.top;
  for (const LegendEntry& entry : legend) {
    const std::string name = FitText(entry.name, kLegendSize, std::min(room - 30, 220.0));
    const double swatch = entry.dot ? 17 : 25;
    const double width = swatch + TextWidth(name, kLegendSize) + 20;
    if (x > area_.left && x + width - 20 > area_.right) {
      x = area_.left;
      y += 20;
    }
    if (entry.dot) {
      svg_.Circle(x + 6, y + 4, 5, absl::StrCat("fill=\"", entry.color, "\""));
    } else {
      svg_.Line(x, y + 4, x + 18, y + 4,
                absl::StrCat(Stroke(entry.color, "2.5"), " stroke-linecap=\"round\"",
                             entry.dashed ? " stroke-dasharray=\"5 5\"" : ""));
    }
    svg_.Text(x + swatch, y + 8.5, name, {.size = kLegendSize, .color = Palette::kInk});
    x += width;
  }
  area_.top = legend.empty() ? y + 4 : y + 26;
  if (!plot.x_label.empty()) area_.bottom -= 20;
  if (!plot.y_label.empty()) area_.left += 22;
}

void Frame::Indent(double left, double bottom) {
  area_.left += left;
  area_.bottom -= bottom;
}

void Frame::SayEmpty() {
  svg_.Text((area_.left + area_.right) / 2, (area_.top + area_.bottom) / 2, "no data",
            {.size = 14, .anchor = Anchor::kMiddle, .halo = true});
}

void Frame::DrawAxisLabels() {
  if (!plot_.x_label.empty()) {
    svg_.Text((area_.left + area_.right) / 2, plot_.height - kMargin + 2, plot_.x_label,
              {.size = kLabelSize, .anchor = Anchor::kMiddle});
  }
  if (!plot_.y_label.empty()) {
    svg_.Text(kMargin + 8, (area_.top + area_.bottom) / 2, plot_.y_label,
              {.size = kLabelSize, .anchor = Anchor::kMiddle, .rotate = -90});
  }
}

void Frame::DrawAxes(Axis* x, Axis* y, bool vertical_grid) {
  double widest = 0;
  for (const Tick& tick : y->ticks()) {
    widest = std::max(widest, TextWidth(tick.label, kTickSize));
  }
  Indent(widest + 8, 20);
  area_.top += 4;
  y->SetPixels(area_.bottom, area_.top);
  for (const Tick& tick : y->ticks()) {
    const double at = y->ToPixel(tick.value);
    svg_.Line(area_.left, at, area_.right, at, Stroke(Palette::kGrid, "1"));
    svg_.Text(area_.left - 8, at + 4, tick.label, {.size = kTickSize, .anchor = Anchor::kEnd});
  }
  svg_.Line(area_.left, area_.bottom, area_.right, area_.bottom, Stroke(Palette::kAxis, "1"));
  DrawAxisLabels();
  if (x == nullptr) return;
  x->SetPixels(area_.left, area_.right);
  double free_from = -1e9;  // labels that would touch the one before are left out
  for (const Tick& tick : x->ticks()) {
    const double at = x->ToPixel(tick.value);
    const double half = TextWidth(tick.label, kTickSize) / 2;
    if (vertical_grid) svg_.Line(at, area_.top, at, area_.bottom, Stroke(Palette::kGrid, "1"));
    if (at - half < free_from) continue;
    svg_.Line(at, area_.bottom, at, area_.bottom + 4, Stroke(Palette::kAxis, "1"));
    svg_.Text(at, area_.bottom + 18, tick.label, {.size = kTickSize, .anchor = Anchor::kMiddle});
    free_from = at + half + 6;
  }
}

}  // namespace graphrun
