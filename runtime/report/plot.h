// Charts, each a description that becomes an SVG drawing by ToSvg.
//
// Whatever the numbers (none, NaN, infinite, equal, millions) the result is a well-formed drawing;
// long series are thinned to what the pixels can show.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "absl/types/span.h"

namespace graphrun {

class ConfusionMatrix;

// What every chart has around it.
struct PlotFrame {
  std::string title, x_label, y_label;
  std::string note;  // small, beside the title
  int width = 800, height = 480;
};

// Lines through points.
struct LineChart {
  struct Mark {
    double x, y;
    std::string label;
  };
  struct Series {
    std::string name;
    std::vector<double> x, y;  // as many; a gap where y is not finite
    bool dashed = false;
    bool faint = false;  // behind the others and not in the legend: raw values under smoothed ones
    absl::optional<Mark> mark;  // a star with a label: the best value
  };
  PlotFrame frame;
  std::vector<Series> series;
  bool log_x = false, log_y = false;     // points that are not positive are left out
  bool whole_x = false;                  // x counts epochs or steps
  absl::optional<double> y_low, y_high;  // ends of the y axis, else from the data

  std::string ToSvg() const;
};

// Bars over labels, one group of bars a label; lying where labels are long.
struct BarChart {
  struct Series {
    std::string name;
    std::vector<double> values;  // one a label
  };
  PlotFrame frame;
  std::vector<std::string> labels;
  std::vector<Series> series;

  std::string ToSvg() const;
};

// Counts over intervals of a number.
struct Histogram {
  PlotFrame frame;
  std::vector<double> edges;  // ascending, one more than counts
  std::vector<double> counts;
  int64_t not_finite = 0;  // values that are in no interval, told in the note

  // Equal intervals over the finite values; bins = 0 chooses 8 to 64 of them by Scott's rule.
  static Histogram Of(absl::Span<const float> values, int bins = 0);
  static Histogram Of(absl::Span<const double> values, int bins = 0);
  std::string ToSvg() const;
};

// A matrix as coloured square cells with numbers in them where there is room. At most frame.width
// wide; the height follows from the rows.
struct HeatMap {
  PlotFrame frame;
  std::vector<std::string> row_labels, column_labels;
  std::vector<double> values;  // [rows, columns]: the numbers written
  std::vector<double> shades;  // [rows, columns] in [0, 1]: the colours; empty: from values
  std::string shade_label;     // beside the colour scale

  // Rows are targets, columns predictions; the colour is the share of the row. `names` may be empty
  // or shorter than the matrix.
  static HeatMap Confusion(const ConfusionMatrix& matrix, absl::Span<const std::string> names);
  std::string ToSvg() const;
};

// Points of several classes, over a map of what a model decides.
struct ScatterChart {
  struct Group {
    std::string name;
    std::vector<double> x, y;
  };
  // Cell (row, column) covers x_low + (column, column + 1) * (x_high - x_low) / columns, rows from
  // y_low upwards.
  struct Regions {
    int64_t rows = 0, columns = 0;
    double x_low = 0, x_high = 1, y_low = 0, y_high = 1;
    std::vector<int64_t> classes;     // [rows, columns]: the group whose colour it takes
    std::vector<double> confidences;  // [rows, columns] in [0, 1], or empty: how strong the colour
  };
  PlotFrame frame;
  std::vector<Group> groups;
  absl::optional<Regions> regions;

  std::string ToSvg() const;
};

}  // namespace graphrun
