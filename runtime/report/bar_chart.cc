#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/report/frame.h"
#include "runtime/report/plot.h"

namespace graphrun {
namespace {

std::string Fill(const char* color) { return absl::StrCat("fill=\"", color, "\""); }

std::string ValueLabel(double value) {
  if (value == std::floor(value) && std::fabs(value) < 1e6) return absl::StrFormat("%.0f", value);
  return absl::StrFormat("%.3g", value);
}

Axis ValueAxis(const BarChart& chart, int ticks) {
  Axis axis;
  axis.Include(0);
  for (const auto& s : chart.series) {
    for (const double v : s.values) axis.Include(v);
  }
  axis.Settle(true, ticks);
  return axis;
}

double ValueOf(const BarChart::Series& series, size_t i) {
  const double value = i < series.values.size() ? series.values[i] : NAN;
  return std::isfinite(value) ? value : 0;
}

// Lying bars: labels stand on the left, first on top.
void DrawLying(const BarChart& chart, Frame* out) {
  Axis values = ValueAxis(chart, 6);
  const PlotFrame& frame = chart.frame;
  double widest = 0;
  for (const std::string& label : chart.labels) widest = std::max(widest, TextWidth(label, 12));
  const double label_room = std::min(widest, frame.width * 0.4);
  out->Indent(label_room + 10, 20);
  const Area& area = out->area();
  values.SetPixels(area.left, area.right - 40);
  Svg& svg = out->svg();
  for (const Tick& tick : values.ticks()) {
    const double at = values.ToPixel(tick.value);
    svg.Line(at, area.top, at, area.bottom, absl::StrCat("stroke=\"", Palette::kGrid, "\""));
    svg.Text(at, area.bottom + 18, tick.label, {.anchor = Anchor::kMiddle});
  }
  const double slot = area.height() / static_cast<double>(std::max<size_t>(chart.labels.size(), 1));
  const double bar = slot * 0.76 / static_cast<double>(std::max<size_t>(chart.series.size(), 1));
  const double zero = values.ToPixel(0);
  for (size_t i = 0; i < chart.labels.size(); ++i) {
    const double top = area.top + slot * (static_cast<double>(i) + 0.12);
    if (slot >= 11) {
      svg.Text(area.left - 8, top + slot * 0.38 + 4, FitText(chart.labels[i], 12, label_room + 1),
               {.color = Palette::kInk, .anchor = Anchor::kEnd});
    }
    for (size_t s = 0; s < chart.series.size(); ++s) {
      const double value = ValueOf(chart.series[s], i), end = values.ToPixel(value);
      const double y = top + bar * static_cast<double>(s);
      svg.Rect(std::min(zero, end), y, std::fabs(end - zero), bar - (bar > 4 ? 1 : 0),
               Fill(Palette::Series(s)), absl::StrCat(chart.labels[i], ": ", ValueLabel(value)));
      if (bar >= 12 && value >= 0) {
        svg.Text(end + 5, y + bar / 2 + 3.5, ValueLabel(value), {.size = 11});
      }
    }
  }
  svg.Line(zero, area.top, zero, area.bottom, absl::StrCat("stroke=\"", Palette::kAxis, "\""));
  out->DrawAxisLabels();
}

void DrawStanding(const BarChart& chart, Frame* out) {
  Axis values = ValueAxis(chart, 6);
  out->DrawAxes(nullptr, &values);
  const Area& area = out->area();
  Svg& svg = out->svg();
  const double slot = area.width() / static_cast<double>(std::max<size_t>(chart.labels.size(), 1));
  const double gap = slot * 0.14;
  const double bar =
      (slot - 2 * gap) / static_cast<double>(std::max<size_t>(chart.series.size(), 1));
  const double zero = values.ToPixel(0);
  double widest = 0;
  for (const auto& s : chart.series) {
    for (size_t i = 0; i < chart.labels.size(); ++i) {
      widest = std::max(widest, TextWidth(ValueLabel(ValueOf(s, i)), 11));
    }
  }
  const bool written = widest <= bar + (chart.series.size() == 1 ? gap : -2);
  double free_from = -1e9;
  for (size_t i = 0; i < chart.labels.size(); ++i) {
    const double left = area.left + slot * static_cast<double>(i);
    const double half = TextWidth(chart.labels[i], 12) / 2, middle = left + slot / 2;
    if (middle - half >= free_from) {
      svg.Text(middle, area.bottom + 18, chart.labels[i],
               {.color = Palette::kInk, .anchor = Anchor::kMiddle});
      free_from = middle + half + 4;
    }
    for (size_t s = 0; s < chart.series.size(); ++s) {
      const double value = ValueOf(chart.series[s], i), end = values.ToPixel(value);
      const double x = left + gap + bar * static_cast<double>(s);
      svg.Rect(x, std::min(zero, end), std::max(bar - (bar > 4 ? 1 : 0), 0.5),
               std::fabs(end - zero), Fill(Palette::Series(s)),
               absl::StrCat(chart.labels[i], ": ", ValueLabel(value)));
      if (written && value >= 0) {
        svg.Text(x + bar / 2, end - 5, ValueLabel(value), {.size = 11, .anchor = Anchor::kMiddle});
      }
    }
  }
  svg.Line(area.left, zero, area.right, zero, absl::StrCat("stroke=\"", Palette::kAxis, "\""));
}

template <typename T>
Histogram MakeHistogram(absl::Span<const T> values, int bins) {
  Histogram h;
  double low = HUGE_VAL, high = -HUGE_VAL, sum = 0, squares = 0;
  int64_t n = 0;
  for (const T v : values) {
    if (!std::isfinite(v)) continue;
    const auto value = static_cast<double>(v);
    low = std::min(low, value);
    high = std::max(high, value);
    sum += value;
    ++n;
  }
  h.not_finite = static_cast<int64_t>(values.size()) - n;
  if (n == 0) return h;
  const double mean = sum / static_cast<double>(n);
  for (const T v : values) {
    if (std::isfinite(v))
      squares += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean);
  }
  if (bins <= 0) {
    // Scott's rule: intervals of 3.49 standard deviations / cube root of n.
    const double deviation = std::sqrt(squares / static_cast<double>(n));
    const double interval = 3.49 * deviation / std::cbrt(static_cast<double>(n));
    const double wanted = interval > 0 ? (high - low) / interval : 8;
    bins =
        static_cast<int>(std::clamp(std::isfinite(wanted) ? std::ceil(wanted) : 64.0, 8.0, 64.0));
  }
  if (high - low <= std::max(std::fabs(low), std::fabs(high)) * 1e-12) {
    const double half = low == 0 ? 0.5 : std::fabs(low) * 0.1;
    low -= half;
    high += half;
  }
  // Halves first: high - low may overflow.
  const double interval = high / bins - low / bins;
  for (int i = 0; i <= bins; ++i) h.edges.push_back(i == bins ? high : low + i * interval);
  h.counts.assign(static_cast<size_t>(bins), 0);
  for (const T v : values) {
    if (!std::isfinite(v)) continue;
    const double at = (static_cast<double>(v) / bins - low / bins) / interval * bins;
    ++h.counts[static_cast<size_t>(std::clamp(at, 0.0, bins - 1.0))];
  }
  return h;
}

}  // namespace

std::string BarChart::ToSvg() const {
  std::vector<LegendEntry> legend;
  if (series.size() > 1) {
    for (size_t s = 0; s < series.size(); ++s) {
      legend.push_back({series[s].name, Palette::Series(s), false, true});
    }
  }
  Frame out(frame, legend);
  double widest = 0;
  for (const std::string& label : labels) widest = std::max(widest, TextWidth(label, 12));
  const double total = (widest + 8) * static_cast<double>(labels.size());
  // Numbers as labels may be thinned out; words may not.
  const bool numbers = widest <= TextWidth("00000", 12);
  if (total > out.area().width() * 0.95 && !numbers) {
    DrawLying(*this, &out);
  } else {
    DrawStanding(*this, &out);
  }
  if (labels.empty()) out.SayEmpty();
  return out.Finish();
}

Histogram Histogram::Of(absl::Span<const float> values, int bins) {
  return MakeHistogram(values, bins);
}
Histogram Histogram::Of(absl::Span<const double> values, int bins) {
  return MakeHistogram(values, bins);
}

std::string Histogram::ToSvg() const {
  PlotFrame shown = frame;
  if (not_finite > 0) {
    absl::StrAppend(&shown.note, shown.note.empty() ? "" : ", ", not_finite,
                    " not finite, not shown");
  }
  Frame out(shown, {});
  Axis x, y;
  for (const double edge : edges) x.Include(edge);
  y.Include(0);
  for (const double count : counts) y.Include(count);
  x.Settle(false, std::max(frame.width / 100, 2));
  y.Settle(true, std::max(frame.height / 80, 2));
  out.DrawAxes(&x, &y);
  if (counts.empty()) out.SayEmpty();
  for (size_t i = 0; i < counts.size() && i + 1 < edges.size(); ++i) {
    const double left = x.ToPixel(edges[i]), right = x.ToPixel(edges[i + 1]);
    const double top = y.ToPixel(counts[i]), bottom = y.ToPixel(0);
    out.svg().Rect(left + 0.5, top, std::max(right - left - 1, 0.5), bottom - top,
                   absl::StrCat(Fill(Palette::Series(0)), " fill-opacity=\"0.85\""),
                   absl::StrFormat("%.4g to %.4g: %g", edges[i], edges[i + 1], counts[i]));
  }
  return out.Finish();
}

}  // namespace graphrun
