#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/text.h"
#include "runtime/report/confusion.h"
#include "runtime/report/frame.h"
#include "runtime/report/plot.h"

namespace graphrun {
namespace {

// White over blue to navy, at equal steps.
constexpr std::array<std::array<double, 3>, 5> kRamp = {
    {{248, 250, 252}, {191, 219, 254}, {96, 165, 250}, {37, 99, 235}, {23, 37, 84}}};

std::string RampColor(double shade) {
  const double at = std::clamp(std::isfinite(shade) ? shade : 0.0, 0.0, 1.0) * (kRamp.size() - 1);
  const size_t i = std::min(static_cast<size_t>(at), kRamp.size() - 2);
  const double part = at - static_cast<double>(i);
  std::array<int, 3> rgb;
  for (size_t c = 0; c < 3; ++c) {
    rgb[c] = static_cast<int>(std::lround(kRamp[i][c] + part * (kRamp[i + 1][c] - kRamp[i][c])));
  }
  return absl::StrFormat("#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
}

std::string CellText(double value) {
  if (!std::isfinite(value)) return "";
  if (value == std::floor(value) && std::fabs(value) < 1e5) return absl::StrFormat("%.0f", value);
  return std::fabs(value) < 1e3 ? absl::StrFormat("%.2f", value) : HumanCount(value);
}

void DrawScale(const Area& area, double low, double high, const std::string& label, Svg* svg) {
  const double left = area.right + 18, width = 12;
  constexpr int kSteps = 64;
  const double height = std::min(area.height(), 220.0), top = area.top;
  for (int i = 0; i < kSteps; ++i) {
    svg->Rect(left, top + height * i / kSteps, width, height / kSteps + 0.5,
              absl::StrCat("fill=\"", RampColor(1 - (i + 0.5) / kSteps), "\""));
  }
  Axis axis;
  axis.Include(low);
  axis.Include(high);
  axis.Settle(false, 4);
  axis.SetPixels(top + height, top);
  for (const Tick& tick : axis.ticks()) {
    svg->Text(left + width + 6, axis.ToPixel(tick.value) + 4, tick.label, {.size = 11});
  }
  if (!label.empty()) svg->Text(left, top + height + 18, label, {.size = 11});
}

}  // namespace

HeatMap HeatMap::Confusion(const ConfusionMatrix& matrix, absl::Span<const std::string> names) {
  HeatMap map;
  map.frame.title = "Confusion matrix";
  map.frame.note = absl::StrFormat("%d samples, accuracy %.2f%%", matrix.total(),
                                   100 * (matrix.total() > 0 ? matrix.Accuracy() : 0));
  map.frame.x_label = "predicted";
  map.frame.y_label = "actual";
  map.shade_label = "of row";
  const int64_t n = matrix.classes();
  for (int64_t i = 0; i < n; ++i) {
    const auto index = static_cast<size_t>(i);
    map.row_labels.push_back(index < names.size() ? names[index] : absl::StrCat(i));
    for (int64_t j = 0; j < n; ++j) {
      const auto count = static_cast<double>(matrix.count(i, j));
      map.values.push_back(count);
      map.shades.push_back(matrix.actual(i) == 0 ? 0
                                                 : count / static_cast<double>(matrix.actual(i)));
    }
  }
  map.column_labels = map.row_labels;
  return map;
}

std::string HeatMap::ToSvg() const {
  const size_t rows = row_labels.size(), columns = column_labels.size();
  const bool sound = rows > 0 && columns > 0 && values.size() == rows * columns &&
                     (shades.empty() || shades.size() == values.size());
  double row_room = 0, column_room = 0;
  for (const std::string& label : row_labels) row_room = std::max(row_room, TextWidth(label, 12));
  for (const std::string& label : column_labels) {
    column_room = std::max(column_room, TextWidth(label, 12));
  }
  row_room = std::min(row_room, 160.0);
  column_room = std::min(column_room, 160.0);

  // Square cells as large as the width allows; the drawing is then cut to what they take.
  constexpr double kScaleRoom = 70;
  const double sides = row_room + kScaleRoom + 84;
  double cell = (frame.width - sides) / static_cast<double>(std::max<size_t>(columns, 1));
  cell = std::max(cell, 2.0);
  cell =
      std::min(cell, std::clamp(600.0 / static_cast<double>(std::max<size_t>(rows, 1)), 3.0, 56.0));
  const bool turned = column_room > cell - 4 && cell >= 12;
  const double below = turned ? column_room + 14 : 20;
  PlotFrame shown = frame;
  if (sound) {
    shown.height =
        static_cast<int>(cell * static_cast<double>(rows) + below +
                         (frame.title.empty() ? 44 : 74) + (frame.x_label.empty() ? 0 : 20));
    shown.width = std::max(static_cast<int>(cell * static_cast<double>(columns) + sides), 420);
  }
  Frame out(shown, {});
  out.Indent(row_room + 10, below);
  Svg& svg = out.svg();
  if (!sound) {
    out.SayEmpty();
    return out.Finish();
  }
  const Area all = out.area();
  double low = 0, high = 1;
  if (shades.empty()) {
    low = HUGE_VAL;
    high = -HUGE_VAL;
    for (const double v : values) {
      if (!std::isfinite(v)) continue;
      low = std::min(low, v);
      high = std::max(high, v);
    }
    if (!(low < high)) {
      low = std::isfinite(low) ? low - 0.5 : 0;
      high = low + 1;
    }
  }
  const size_t label_step = cell < 13 ? static_cast<size_t>(std::ceil(13 / cell)) : 1;
  const double right = all.left + cell * static_cast<double>(columns);
  const double bottom = all.top + cell * static_cast<double>(rows);
  double widest = 0;
  for (const double v : values) widest = std::max(widest, TextWidth(CellText(v), 12));
  const bool written = cell >= 17 && widest <= cell - 3;
  svg.Rect(all.left, all.top, right - all.left, bottom - all.top,
           absl::StrCat("fill=\"", RampColor(0), "\""));
  for (size_t r = 0; r < rows; ++r) {
    const double y = all.top + cell * static_cast<double>(r);
    if (r % label_step == 0) {
      svg.Text(all.left - 8, y + cell / 2 + 4, FitText(row_labels[r], 12, row_room + 1),
               {.color = Palette::kInk, .anchor = Anchor::kEnd});
    }
    for (size_t c = 0; c < columns; ++c) {
      const double value = values[r * columns + c];
      const double shade = shades.empty() ? (value - low) / (high - low) : shades[r * columns + c];
      const double x = all.left + cell * static_cast<double>(c);
      if (shade <= 0 && values.size() > 1024) continue;  // as the ground is
      const double gap = cell >= 12 ? 1 : -0.3;
      svg.Rect(x, y, cell - gap, cell - gap, absl::StrCat("fill=\"", RampColor(shade), "\""),
               values.size() > 4096
                   ? ""
                   : absl::StrCat(row_labels[r], ", ", column_labels[c], ": ", CellText(value)));
      if (!written) continue;
      const char* color = shade > 0.45 ? "#ffffff" : value == 0 ? "#cbd5e1" : Palette::kInk;
      svg.Text(x + cell / 2, y + cell / 2 + 4, CellText(value),
               {.color = color, .anchor = Anchor::kMiddle});
    }
  }
  for (size_t c = 0; c < columns; c += label_step) {
    const double x = all.left + cell * (static_cast<double>(c) + 0.5);
    if (turned) {
      svg.Text(x + 4, bottom + 8, FitText(column_labels[c], 12, column_room + 1),
               {.color = Palette::kInk, .anchor = Anchor::kEnd, .rotate = -90});
    } else {
      svg.Text(x, bottom + 16, column_labels[c],
               {.color = Palette::kInk, .anchor = Anchor::kMiddle});
    }
  }
  if (!shown.x_label.empty()) {
    svg.Text((all.left + right) / 2, bottom + below + 18, shown.x_label,
             {.size = 12.5, .anchor = Anchor::kMiddle});
  }
  if (!shown.y_label.empty()) {
    svg.Text(28, (all.top + bottom) / 2, shown.y_label,
             {.size = 12.5, .anchor = Anchor::kMiddle, .rotate = -90});
  }
  DrawScale({all.left, all.top, right, bottom}, low, high, shade_label, &svg);
  return out.Finish();
}

}  // namespace graphrun
