// Raster: a picture in memory; areas and lines are drawn on it with smooth edges.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace graphrun {

struct Paint {
  std::array<uint8_t, 3> color = {0, 0, 0};
  double opacity = 1;
};

class Raster {
 public:
  using Point = std::pair<double, double>;  // pixels; the origin is the upper left corner
  using Contour = std::vector<Point>;

  // White.
  Raster(int width, int height);
  int width() const { return width_; }
  int height() const { return height_; }

  // What lies inside any of the closed contours.
  void Fill(const std::vector<Contour>& contours, const Paint& paint);
  // A line of a width through points, its ends and corners round. `dashes`: lengths that are drawn
  // and left out in turn; empty: all is drawn.
  void Stroke(absl::Span<const Point> points, double width, const Paint& paint,
              absl::Span<const double> dashes = {});
  // Nothing outside this rectangle is drawn from now on.
  void SetClip(double left, double top, double right, double bottom);

  // As a PNG file: 8-bit RGB.
  std::string ToPng() const;

 private:
  void FillOriented(const std::vector<Contour>& contours, const Paint& paint);

  int width_, height_;
  double left_ = 0, top_ = 0, right_, bottom_;
  std::vector<uint8_t> pixels_;  // [height, width, 3]
};

}  // namespace graphrun
