#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/shape.h"
#include "runtime/report/frame.h"
#include "runtime/report/plot.h"

namespace graphrun {
namespace {

bool IsSound(const ScatterChart::Regions& r) {
  const auto cells = CheckedMul(r.rows, r.columns);
  return cells && *cells > 0 && static_cast<int64_t>(r.classes.size()) == *cells &&
         (r.confidences.empty() || r.confidences.size() == r.classes.size()) &&
         r.x_low < r.x_high && r.y_low < r.y_high;
}

// Opacity in tenths, so that neighbours join.
int Strength(const ScatterChart::Regions& r, size_t cell) {
  if (r.confidences.empty()) return 5;
  const double c = r.confidences[cell];
  return std::isfinite(c) ? static_cast<int>(std::lround(std::clamp(c, 0.0, 1.0) * 10)) : 0;
}

// "#rrggbb" over white at that opacity.
std::string Blended(absl::string_view color, double opacity) {
  std::string blended = "#";
  for (size_t i = 1; i + 1 < color.size(); i += 2) {
    int channel = 0;
    for (const char c : color.substr(i, 2)) {
      channel = channel * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    absl::StrAppendFormat(&blended, "%02x",
                          static_cast<int>(std::lround(255 + opacity * (channel - 255))));
  }
  return blended;
}

void DrawRegions(const ScatterChart::Regions& r, const Axis& x, const Axis& y, Svg* svg) {
  const auto rows = static_cast<size_t>(r.rows), columns = static_cast<size_t>(r.columns);
  const auto edge_x = [&](size_t i) {
    return x.ToPixel(r.x_low +
                     (r.x_high - r.x_low) * static_cast<double>(i) / static_cast<double>(columns));
  };
  const auto edge_y = [&](size_t i) {
    return y.ToPixel(r.y_low +
                     (r.y_high - r.y_low) * static_cast<double>(i) / static_cast<double>(rows));
  };
  std::map<std::pair<int64_t, int>, std::vector<std::array<double, 4>>> rects;  // by colour
  for (size_t row = 0; row < rows; ++row) {
    const double top = edge_y(row + 1), height = edge_y(row) - top;
    for (size_t begin = 0; begin < columns;) {
      const size_t at = row * columns + begin;
      const std::pair<int64_t, int> look(r.classes[at], Strength(r, at));
      size_t end = begin + 1;
      while (end < columns && r.classes[row * columns + end] == look.first &&
             Strength(r, row * columns + end) == look.second) {
        ++end;
      }
      if (look.first >= 0 && look.second > 0) {
        // Half a pixel of overlap hides the seams.
        rects[look].push_back(
            {edge_x(begin), top, edge_x(end) - edge_x(begin) + 0.5, height + 0.5});
      }
      begin = end;
    }
  }
  for (const auto& look : rects) {
    const char* color = Palette::Series(static_cast<size_t>(look.first.first));
    svg->Rects(look.second,
               absl::StrCat("fill=\"", Blended(color, look.first.second * 0.04), "\""));
  }
}

}  // namespace

std::string ScatterChart::ToSvg() const {
  constexpr size_t kMostPoints = 20000;  // of a group; more are thinned evenly
  std::vector<LegendEntry> legend;
  for (size_t i = 0; i < groups.size(); ++i) {
    legend.push_back({groups[i].name, Palette::Series(i), false, true});
  }
  if (legend.size() == 1 && legend[0].name.empty()) legend.clear();
  Frame out(frame, legend);
  Axis x, y;
  const bool has_regions = regions && IsSound(*regions);
  size_t most = 0;
  for (const Group& g : groups) {
    most = std::max(most, g.x.size());
    if (has_regions) continue;
    for (const double v : g.x) x.Include(v);
    for (const double v : g.y) y.Include(v);
  }
  if (has_regions) {
    x.Include(regions->x_low);
    x.Include(regions->x_high);
    y.Include(regions->y_low);
    y.Include(regions->y_high);
  }
  x.Settle(!has_regions, std::max(frame.width / 90, 2));
  y.Settle(!has_regions, std::max(frame.height / 70, 2));
  out.DrawAxes(&x, &y, /*vertical_grid=*/true);
  if (!x.any()) out.SayEmpty();
  const Area& area = out.area();
  Svg& svg = out.svg();
  svg.BeginClip(area.left, area.top, area.width(), area.height());
  if (has_regions) DrawRegions(*regions, x, y, &svg);
  const double radius = most <= 300 ? 4 : most <= 3000 ? 3 : 2;
  for (size_t i = 0; i < groups.size(); ++i) {
    const std::string style =
        absl::StrFormat("fill=\"%s\" fill-opacity=\"0.85\" stroke=\"#fff\" stroke-width=\"%s\"",
                        Palette::Series(i), radius >= 3 ? "0.8" : "0.3");
    const size_t n = std::min(groups[i].x.size(), groups[i].y.size());
    const size_t stride = n / kMostPoints + 1;
    for (size_t k = 0; k < n; k += stride) {
      if (!x.Shows(groups[i].x[k]) || !y.Shows(groups[i].y[k])) continue;
      svg.Circle(x.ToPixel(groups[i].x[k]), y.ToPixel(groups[i].y[k]), radius, style);
    }
  }
  svg.EndClip();
  return out.Finish();
}

}  // namespace graphrun
