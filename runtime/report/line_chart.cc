#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/report/frame.h"
#include "runtime/report/plot.h"

namespace graphrun {
namespace {

using Point = Svg::Point;

// The points of a run without gaps, thinned to the lowest and highest of each pixel column.
std::vector<Point> Thinned(const std::vector<Point>& points, double width) {
  if (static_cast<double>(points.size()) <= 4 * width) return points;
  std::vector<Point> kept;
  size_t begin = 0;
  while (begin < points.size()) {
    size_t end = begin, low = begin, high = begin;
    const double column = std::floor(points[begin].first);
    for (; end < points.size() && std::floor(points[end].first) == column; ++end) {
      if (points[end].second < points[low].second) low = end;
      if (points[end].second > points[high].second) high = end;
    }
    kept.push_back(points[std::min(low, high)]);
    if (low != high) kept.push_back(points[std::max(low, high)]);
    begin = end;
  }
  return kept;
}

std::vector<std::vector<Point>> Runs(const LineChart::Series& series, const Axis& x,
                                     const Axis& y) {
  std::vector<std::vector<Point>> runs(1);
  const size_t n = std::min(series.x.size(), series.y.size());
  for (size_t i = 0; i < n; ++i) {
    if (x.Shows(series.x[i]) && y.Shows(series.y[i])) {
      runs.back().emplace_back(x.ToPixel(series.x[i]), y.ToPixel(series.y[i]));
    } else if (!runs.back().empty()) {
      runs.emplace_back();
    }
  }
  return runs;
}

void DrawMark(const LineChart::Mark& mark, const Axis& x, const Axis& y, const Area& area,
              const char* color, Svg* svg) {
  if (!x.Shows(mark.x) || !y.Shows(mark.y)) return;
  const double at_x = x.ToPixel(mark.x), at_y = y.ToPixel(mark.y);
  DrawStar(svg, at_x, at_y, 8, color);
  const double half = TextWidth(mark.label, 12) / 2;
  const double text_x =
      std::clamp(at_x, area.left + half + 2, std::max(area.right - half - 2, area.left + half + 2));
  const double text_y = at_y - area.top < 26 ? at_y + 22 : at_y - 13;
  svg->Text(text_x, text_y, mark.label,
            {.color = color, .anchor = Anchor::kMiddle, .bold = true, .halo = true});
}

}  // namespace

std::string LineChart::ToSvg() const {
  std::vector<LegendEntry> legend;
  std::vector<const char*> colors;
  size_t color = 0;
  for (const Series& s : series) {
    // A faint series has the colour of the one after it, which it stands behind.
    colors.push_back(Palette::Series(color));
    if (s.faint) continue;
    ++color;
    legend.push_back({s.name, colors.back(), s.dashed});
  }
  if (legend.size() == 1 && legend[0].name == frame.y_label) legend.clear();
  Frame out(frame, legend);
  Axis x(log_x), y(log_y);
  for (const Series& s : series) {
    const size_t n = std::min(s.x.size(), s.y.size());
    for (size_t i = 0; i < n; ++i) {
      if (!x.Shows(s.x[i]) || !y.Shows(s.y[i])) continue;
      x.Include(s.x[i]);
      if (!(y_low && s.y[i] < *y_low) && !(y_high && s.y[i] > *y_high)) y.Include(s.y[i]);
    }
  }
  if (y_low) y.Include(*y_low);
  if (y_high) y.Include(*y_high);
  if (whole_x) x.SetWhole();
  x.Settle(false, std::max(frame.width / 90, 2));
  y.Settle(true, std::max(frame.height / 70, 2));
  out.DrawAxes(&x, &y);
  if (!x.any()) out.SayEmpty();
  const Area& area = out.area();
  Svg& svg = out.svg();

  svg.BeginClip(area.left - 4, area.top - 4, area.width() + 8, area.height() + 8);
  for (const bool faint : {true, false}) {
    for (size_t i = 0; i < series.size(); ++i) {
      if (series[i].faint != faint) continue;
      const auto runs = Runs(series[i], x, y);
      size_t points = 0;
      for (const auto& run : runs) points += run.size();
      const std::string stroke =
          absl::StrCat("stroke=\"", colors[i], "\" stroke-width=\"", faint ? "1" : "2",
                       "\" stroke-linejoin=\"round\" stroke-linecap=\"round\"",
                       faint ? " stroke-opacity=\"0.35\"" : "",
                       series[i].dashed ? " stroke-dasharray=\"5 5\"" : "");
      for (const auto& run : runs) {
        if (run.size() == 1) {
          svg.Circle(run[0].first, run[0].second, 2.5, absl::StrCat("fill=\"", colors[i], "\""));
        } else if (!run.empty()) {
          svg.Polyline(Thinned(run, area.width()), stroke);
        }
      }
      if (faint || points > 200) continue;
      for (size_t k = 0; k < std::min(series[i].x.size(), series[i].y.size()); ++k) {
        if (!x.Shows(series[i].x[k]) || !y.Shows(series[i].y[k])) continue;
        svg.Circle(
            x.ToPixel(series[i].x[k]), y.ToPixel(series[i].y[k]), points <= 40 ? 2.8 : 5,
            absl::StrCat("fill=\"", colors[i], "\"", points <= 40 ? "" : " fill-opacity=\"0\""),
            absl::StrFormat("%s: %.6g at %.6g", series[i].name, series[i].y[k], series[i].x[k]));
      }
    }
  }
  svg.EndClip();
  for (size_t i = 0; i < series.size(); ++i) {
    if (series[i].mark) DrawMark(*series[i].mark, x, y, area, colors[i], &svg);
  }
  return out.Finish();
}

}  // namespace graphrun
