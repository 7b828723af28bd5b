#include "runtime/report/raster.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>

namespace graphrun {
namespace {

using Point = Raster::Point;
using Contour = Raster::Contour;

constexpr int kRows = 4;  // samples of a pixel from top to bottom; from left to right it is exact

// Twice the area, positive where the contour runs clockwise on the screen.
double Area(const Contour& contour) {
  double area = 0;
  for (size_t i = 0; i < contour.size(); ++i) {
    const Point &a = contour[i], &b = contour[(i + 1) % contour.size()];
    area += a.first * b.second - b.first * a.second;
  }
  return area;
}

Contour Disc(const Point& center, double radius) {
  const int corners = static_cast<int>(std::clamp(6 + 2 * radius, 8.0, 64.0));
  Contour disc;
  for (int i = 0; i < corners; ++i) {
    const double angle = 2 * M_PI * i / corners;
    disc.emplace_back(center.first + radius * std::cos(angle),
                      center.second + radius * std::sin(angle));
  }
  return disc;
}

// The pieces of a line that its dashes draw.
std::vector<Contour> Dashed(absl::Span<const Point> points, absl::Span<const double> dashes) {
  std::vector<Contour> pieces;
  size_t dash = 0;
  double left = dashes[0];
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    Point at = points[i];
    const Point end = points[i + 1];
    double length = std::hypot(end.first - at.first, end.second - at.second);
    while (length > 0) {
      const double step = std::min(left, length), share = step / length;
      const Point next = {at.first + (end.first - at.first) * share,
                          at.second + (end.second - at.second) * share};
      if (dash % 2 == 0) {
        if (pieces.empty() || pieces.back().back() != at) pieces.push_back({at});
        pieces.back().push_back(next);
      }
      at = next;
      length -= step;
      left -= step;
      if (left <= 0) left = dashes[++dash % dashes.size()];
    }
  }
  return pieces;
}

void AppendBig(std::string* out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) *out += static_cast<char>(value >> shift & 0xff);
}

void AppendChunk(std::string* out, const char* name, const std::string& data) {
  AppendBig(out, static_cast<uint32_t>(data.size()));
  const std::string body = name + data;
  *out += body;
  AppendBig(out, static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(body.data()),
                                             static_cast<uInt>(body.size()))));
}

}  // namespace

Raster::Raster(int width, int height)
    : width_(width),
      height_(height),
      right_(width),
      bottom_(height),
      pixels_(static_cast<size_t>(width) * static_cast<size_t>(height) * 3, 255) {}

void Raster::SetClip(double left, double top, double right, double bottom) {
  left_ = std::clamp<double>(left, 0, width_);
  top_ = std::clamp<double>(top, 0, height_);
  right_ = std::clamp<double>(right, left_, width_);
  bottom_ = std::clamp<double>(bottom, top_, height_);
}

void Raster::Fill(const std::vector<Contour>& contours, const Paint& paint) {
  std::vector<Contour> oriented = contours;
  for (Contour& contour : oriented) {
    if (Area(contour) < 0) std::reverse(contour.begin(), contour.end());
  }
  FillOriented(oriented, paint);
}

void Raster::FillOriented(const std::vector<Contour>& contours, const Paint& paint) {
  double top = bottom_, bottom = top_;
  for (const Contour& contour : contours) {
    for (const Point& p : contour) {
      if (!std::isfinite(p.first) || !std::isfinite(p.second)) return;
      top = std::min(top, p.second);
      bottom = std::max(bottom, p.second);
    }
  }
  top = std::max(top, top_);
  bottom = std::min(bottom, bottom_);
  if (!(top < bottom)) return;
  std::vector<float> cover(static_cast<size_t>(width_));
  std::vector<std::pair<double, int>> crossings;  // x, direction
  const int first = static_cast<int>(top), last = std::min(static_cast<int>(bottom), height_ - 1);
  std::vector<std::vector<std::pair<Point, Point>>> edges(static_cast<size_t>(last - first + 1));
  for (const Contour& contour : contours) {
    for (size_t i = 0; i < contour.size(); ++i) {
      const Point &a = contour[i], &b = contour[(i + 1) % contour.size()];
      const double high = std::min(a.second, b.second), low = std::max(a.second, b.second);
      if (a.second == b.second || low < top || high > bottom) continue;
      const int from = static_cast<int>(std::max(high, top));
      const int to = std::min(static_cast<int>(std::min(low, bottom)), last);
      for (int y = from; y <= to; ++y) edges[static_cast<size_t>(y - first)].push_back({a, b});
    }
  }
  for (int y = first; y <= last; ++y) {
    std::fill(cover.begin(), cover.end(), 0.0f);
    for (int k = 0; k < kRows; ++k) {
      const double at = y + (k + 0.5) / kRows;
      if (at < top || at >= bottom) continue;
      crossings.clear();
      for (const auto& [a, b] : edges[static_cast<size_t>(y - first)]) {
        if ((a.second <= at) == (b.second <= at)) continue;
        const double share = (at - a.second) / (b.second - a.second);
        crossings.push_back({a.first + share * (b.first - a.first), a.second < b.second ? 1 : -1});
      }
      std::sort(crossings.begin(), crossings.end());
      int inside = 0;
      for (size_t i = 0; i + 1 < crossings.size(); ++i) {
        inside += crossings[i].second;
        if (inside == 0) continue;
        const double begin = std::max(crossings[i].first, left_);
        const double end = std::min(crossings[i + 1].first, right_);
        if (!(begin < end)) continue;
        const int x0 = static_cast<int>(begin), x1 = std::min(static_cast<int>(end), width_ - 1);
        for (int x = x0; x <= x1; ++x) {
          cover[static_cast<size_t>(x)] += static_cast<float>(
              (std::min<double>(end, x + 1) - std::max<double>(begin, x)) / kRows);
        }
      }
    }
    uint8_t* pixel = &pixels_[static_cast<size_t>(y) * static_cast<size_t>(width_) * 3];
    for (const float c : cover) {
      if (c > 0) {
        const double share = std::min(static_cast<double>(c), 1.0) * paint.opacity;
        for (size_t i = 0; i < 3; ++i) {
          pixel[i] = static_cast<uint8_t>(
              std::lround(pixel[i] + share * (static_cast<double>(paint.color[i]) - pixel[i])));
        }
      }
      pixel += 3;
    }
  }
}

void Raster::Stroke(absl::Span<const Point> points, double width, const Paint& paint,
                    absl::Span<const double> dashes) {
  if (points.empty() || !(width > 0)) return;
  std::vector<Contour> pieces;
  if (std::any_of(dashes.begin(), dashes.end(), [](double d) { return !(d > 0.1); })) dashes = {};
  if (dashes.empty()) {
    pieces.emplace_back(points.begin(), points.end());
  } else {
    pieces = Dashed(points, dashes);
  }
  std::vector<Contour> contours;
  const double half = width / 2;
  const bool straight = pieces.size() == 1 && pieces[0].size() == 2;
  for (const Contour& piece : pieces) {
    for (size_t i = 0; i + 1 < piece.size(); ++i) {
      const Point &a = piece[i], &b = piece[i + 1];
      const double dx = b.first - a.first, dy = b.second - a.second, length = std::hypot(dx, dy);
      if (!(length > 0)) continue;
      const double nx = -dy / length * half, ny = dx / length * half;
      contours.push_back({{a.first + nx, a.second + ny},
                          {a.first - nx, a.second - ny},
                          {b.first - nx, b.second - ny},
                          {b.first + nx, b.second + ny}});
    }
    // Grid lines end where they end.
    if (straight && width <= 1.5 && piece[0] != piece[1]) continue;
    for (const Point& p : piece) contours.push_back(Disc(p, half));
  }
  Fill(contours, paint);
}

std::string Raster::ToPng() const {
  std::string head;
  AppendBig(&head, static_cast<uint32_t>(width_));
  AppendBig(&head, static_cast<uint32_t>(height_));
  head += std::string("\x08\x02\x00\x00\x00", 5);  // 8 bits, RGB, not interlaced
  const size_t row = static_cast<size_t>(width_) * 3;
  std::string raw;
  raw.reserve((row + 1) * static_cast<size_t>(height_));
  for (size_t y = 0; y < static_cast<size_t>(height_); ++y) {
    raw += '\0';  // no filter
    raw.append(reinterpret_cast<const char*>(&pixels_[y * row]), row);
  }
  uLongf size = compressBound(static_cast<uLong>(raw.size()));
  std::string packed(size, '\0');
  if (compress2(reinterpret_cast<Bytef*>(&packed[0]), &size,
                reinterpret_cast<const Bytef*>(raw.data()), static_cast<uLong>(raw.size()),
                4) != Z_OK) {
    return "";
  }
  packed.resize(size);
  std::string png = "\x89PNG\r\n\x1a\n";
  AppendChunk(&png, "IHDR", head);
  AppendChunk(&png, "IDAT", packed);
  AppendChunk(&png, "IEND", "");
  return png;
}

}  // namespace graphrun
