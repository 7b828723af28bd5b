// Frame: title, legend, axes and grid around the plot area of a chart.
#pragma once

#include <string>
#include <vector>

#include "runtime/report/axis.h"
#include "runtime/report/plot.h"
#include "runtime/report/svg.h"

namespace graphrun {

struct LegendEntry {
  std::string name;
  const char* color;
  bool dashed = false;
  bool dot = false;  // a dot instead of a line
};

// The plot area in pixels.
struct Area {
  double left = 0, top = 0, right = 0, bottom = 0;
  double width() const { return right - left; }
  double height() const { return bottom - top; }
};

class Frame {
 public:
  // Draws title, note and legend.
  Frame(const PlotFrame& plot, const std::vector<LegendEntry>& legend);
  Svg& svg() { return svg_; }
  const Area& area() const { return area_; }
  // Makes room on the left and below; before axes are drawn.
  void Indent(double left, double bottom);

  // Makes room for the tick labels, draws grid lines, ticks and labels, and sets the axes' pixels.
  // x may be nullptr: a base line without ticks.
  void DrawAxes(Axis* x, Axis* y, bool vertical_grid = false);
  // Labels of the axes only, for charts with their own ticks.
  void DrawAxisLabels();
  // "no data" in the middle.
  void SayEmpty();
  std::string Finish() { return svg_.Finish(); }

 private:
  PlotFrame plot_;
  Svg svg_;
  Area area_;
};

// A five-pointed star about (x, y).
void DrawStar(Svg* svg, double x, double y, double radius, const char* color);

// `text` shortened to `width` pixels, with an ellipsis where something was lost.
std::string FitText(const std::string& text, double size, double width);

}  // namespace graphrun
