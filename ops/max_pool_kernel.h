// Max-pooling's loops over places: for every output the kernel element at which its largest input
// stands (row-major in the kernel, pads counted), one byte each.
//
// On runs of whole lanes of channels (blocks of channels, channels last) and, for windows of 2 x 2
// that step by 2, on row-major planes these are vector loops; in other layouts plain ones. The
// first of equal elements counts; a NaN never does.
#pragma once

#include <limits>

#include "ops/lanes.h"
#include "ops/pool.h"

namespace graphrun {

inline constexpr int32_t kNoPlace = 255;  // no gradient passes; also the most kernel elements

// True where every input element belongs to exactly one window.
inline bool Partitions(const Sliding& s) {
  for (size_t a = 0; a < 3; ++a) {
    if (s.strides[a] != s.kernel[a] || s.dilations[a] != 1 || s.pads[a] != 0 ||
        s.in[a] != s.out[a] * s.strides[a]) {
      return false;
    }
  }
  return true;
}

// True where lanes of neighbouring channels (or 2 x 2 windows on planes) make vector loops.
template <typename T>
bool PoolsInLanes(const Sliding& s, const ChannelRuns& r) {
  if constexpr (!std::is_same_v<T, float> && !std::is_same_v<T, BFloat16>) return false;
  return r.run % kLanes == 0 && s.kernel_size() < kNoPlace;
}
inline bool IsTwoByTwo(const Sliding& s) {
  return s.kernel == std::array<int64_t, 3>{1, 2, 2} && s.strides[0] == 1 && s.strides[1] == 2 &&
         s.strides[2] == 2 && s.dilations == std::array<int64_t, 3>{1, 1, 1} &&
         s.pads == std::array<int64_t, 3>{0, 0, 0} && s.in[1] >= 2 * s.out[1] &&
         s.in[2] >= 2 * s.out[2];
}

// Calls f(offset of the input element's run, place) for every kernel element of output (od, oh, ow)
// inside the input. H and W: a window of that size in two dimensions, undilated, or 0.
template <int64_t H, int64_t W, typename F>
inline void ForPlaces(const Sliding& s, int64_t run, int64_t od, int64_t oh, int64_t ow, F&& f) {
  if constexpr (H > 0) {
    const int64_t h = oh * s.strides[1] - s.pads[1], w = ow * s.strides[2] - s.pads[2];
    if (h >= 0 && w >= 0 && h + H <= s.in[1] && w + W <= s.in[2]) {
      for (int64_t kh = 0; kh < H; ++kh) {
        const int64_t row = ((od * s.in[1] + h + kh) * s.in[2] + w) * run;
        for (int64_t kw = 0; kw < W; ++kw) f(row + kw * run, static_cast<int32_t>(kh * W + kw));
      }
      return;
    }
  }
  int64_t d0, d1, h0, h1, w0, w1;
  s.KernelInside(0, od, &d0, &d1);
  s.KernelInside(1, oh, &h0, &h1);
  s.KernelInside(2, ow, &w0, &w1);
  for (int64_t kd = d0; kd < d1; ++kd) {
    for (int64_t kh = h0; kh < h1; ++kh) {
      const int64_t row = (s.At(0, od, kd) * s.in[1] + s.At(1, oh, kh)) * s.in[2];
      const int64_t place = (kd * s.kernel[1] + kh) * s.kernel[2];
      for (int64_t kw = w0; kw < w1; ++kw)
        f((row + s.At(2, ow, kw)) * run, static_cast<int32_t>(place + kw));
    }
  }
}

// Calls f with constants H and W for ForPlaces.
template <typename F>
void WithWindowSize(const Sliding& s, F&& f) {
  using std::integral_constant;
  const bool plane = s.kernel[0] == 1 && s.strides[0] == 1 && s.pads[0] == 0 &&
                     s.dilations == std::array<int64_t, 3>{1, 1, 1};
  if (plane && s.kernel[1] == 2 && s.kernel[2] == 2) {
    f(integral_constant<int64_t, 2>(), integral_constant<int64_t, 2>());
  } else if (plane && s.kernel[1] == 3 && s.kernel[2] == 3) {
    f(integral_constant<int64_t, 3>(), integral_constant<int64_t, 3>());
  } else {
    f(integral_constant<int64_t, 0>(), integral_constant<int64_t, 0>());
  }
}

// The first kernel element of an output that lies inside the input; kNoPlace where none does.
inline int32_t FirstPlace(const Sliding& s, int64_t od, int64_t oh, int64_t ow) {
  int64_t d0, d1, h0, h1, w0, w1;
  s.KernelInside(0, od, &d0, &d1);
  s.KernelInside(1, oh, &h0, &h1);
  s.KernelInside(2, ow, &w0, &w1);
  if (d0 >= d1 || h0 >= h1 || w0 >= w1) return kNoPlace;
  return static_cast<int32_t>((d0 * s.kernel[1] + h0) * s.kernel[2] + w0);
}

// What MaxPoolLanes does to each input: nothing.
struct AsItIs {
  static constexpr bool kFloor = false;
  void operator()(FloatLanes*) const {}
};

// y, and the places where `places` is not null, of x after `change(channel)(lanes)`. A change with
// kFloor has `floor` lanes: a window without a larger input gives that and kNoPlace.
// REQUIRES: PoolsInLanes.
template <typename T, typename Change>
void MaxPoolLanes(const Sliding& s, const ChannelRuns& r, const T* x, Change&& change, T* y,
                  uint8_t* places) {
  WithWindowSize(s, [&](auto height, auto width) {
    ForPooledRows(s, r, [&](int64_t outer, int64_t od, int64_t oh) {
      const T* plane = x + outer * s.in_size() * r.run;
      const int64_t row = ((outer * s.out[0] + od) * s.out[1] + oh) * s.out[2] * r.run;
      for (int64_t first = 0; first < r.run; first += kLanes) {
        const auto changed = change(outer % r.blocks * r.run + first);
        for (int64_t ow = 0; ow < s.out[2]; ++ow) {
          FloatLanes best = FloatLanes{} - std::numeric_limits<float>::infinity();
          IntLanes place = {};
          if constexpr (decltype(changed)::kFloor) {
            best = changed.floor;
            place += kNoPlace;
          } else if (places != nullptr) {
            place += FirstPlace(s, od, oh, ow);
          }
          ForPlaces<decltype(height)::value, decltype(width)::value>(
              s, r.run, od, oh, ow, [&](int64_t at, int32_t k) {
                FloatLanes v;
                LoadLanes(plane + at + first, &v);
                changed(&v);
                const IntLanes larger = v > best;
                best = larger ? v : best;
                place = larger ? IntLanes{} + k : place;
              });
          const int64_t to = row + ow * r.run + first;
          StoreLanes(best, y + to);
          if (places != nullptr) StoreLanes(place, places + to);
        }
      }
    });
  });
}

// y of x in bytes, runs of whole lanes of channels.
template <typename T>
void MaxPoolByteLanes(const Sliding& s, const ChannelRuns& r, const T* x, T* y) {
  const ByteLanes turn = ByteLanes{} + (std::is_signed_v<T> ? 0x80 : 0);  // signs, as unsigned ones
  WithWindowSize(s, [&](auto height, auto width) {
    ForPooledRows(s, r, [&](int64_t outer, int64_t od, int64_t oh) {
      const T* plane = x + outer * s.in_size() * r.run;
      T* to = y + ((outer * s.out[0] + od) * s.out[1] + oh) * s.out[2] * r.run;
      for (int64_t ow = 0; ow < s.out[2]; ++ow) {
        for (int64_t first = 0; first < r.run; first += kLanes, to += kLanes) {
          ByteLanes best = {};
          ForPlaces<decltype(height)::value, decltype(width)::value>(
              s, r.run, od, oh, ow, [&](int64_t at, int32_t) {
                ByteLanes v;
                std::memcpy(&v, plane + at + first, sizeof(v));
                v ^= turn;
                best = v > best ? v : best;
              });
          best ^= turn;
          std::memcpy(to, &best, sizeof(best));
        }
      }
    });
  });
}

// As above on any run, one element after the other.
template <typename T>
void MaxPoolPlain(const Sliding& s, const ChannelRuns& r, const T* x, T* y, uint8_t* places) {
  using C = Compute<T>;
  ForPooledRows(s, r, [&](int64_t outer, int64_t od, int64_t oh) {
    const T* plane = x + outer * s.in_size() * r.run;
    const int64_t row = ((outer * s.out[0] + od) * s.out[1] + oh) * s.out[2] * r.run;
    for (int64_t ow = 0; ow < s.out[2]; ++ow) {
      for (int64_t l = 0; l < r.run; ++l) {
        C best = -std::numeric_limits<C>::infinity();
        int32_t place = kNoPlace;
        ForPlaces<0, 0>(s, r.run, od, oh, ow, [&](int64_t at, int32_t k) {
          const C v = static_cast<C>(plane[at + l]);
          if (place == kNoPlace) place = k;
          if (v > best) {
            best = v;
            place = k;
          }
        });
        y[row + ow * r.run + l] = T(best);
        places[row + ow * r.run + l] = static_cast<uint8_t>(place);
      }
    }
  });
}

// 2 x 2 windows that step by 2 on row-major planes; `places` may be null. REQUIRES: IsTwoByTwo.
template <typename T>
void MaxPoolPlanes(const Sliding& s, int64_t planes, const T* x, T* y, uint8_t* places) {
  using C = Compute<T>;
  const int64_t width = s.in[2], out = s.out[2];
  ParallelFor(planes * s.out[0] * s.out[1], std::max<int64_t>(8192 / std::max<int64_t>(out, 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t row = begin; row < end; ++row) {
                  const int64_t image = row / s.out[1], oh = row % s.out[1];
                  const T *upper = x + (image * s.in[1] + 2 * oh) * width, *lower = upper + width;
                  T* to = y + row * out;
                  const auto four = [&](int64_t ow, C* best) {
                    const C v[4] = {
                        static_cast<C>(upper[2 * ow]), static_cast<C>(upper[2 * ow + 1]),
                        static_cast<C>(lower[2 * ow]), static_cast<C>(lower[2 * ow + 1])};
                    *best = -std::numeric_limits<C>::infinity();
                    int32_t place = 0;
                    for (int32_t k = 0; k < 4; ++k) {
                      place = v[k] > *best ? k : place;
                      *best = v[k] > *best ? v[k] : *best;
                    }
                    return static_cast<uint8_t>(place);
                  };
                  if (places == nullptr) {
                    for (int64_t ow = 0; ow < out; ++ow) {
                      C best;
                      four(ow, &best);
                      to[ow] = T(best);
                    }
                  } else {
                    for (int64_t ow = 0; ow < out; ++ow) {
                      C best;
                      places[row * out + ow] = four(ow, &best);
                      to[ow] = T(best);
                    }
                  }
                }
              });
}

// dx: each dy at its place. Threads take planes and stretches of channels, so that windows that
// overlap never meet. REQUIRES: PoolsInLanes.
template <typename T>
void ScatterLanes(const Sliding& s, const ChannelRuns& r, const T* dy, const uint8_t* places,
                  T* dx) {
  const bool partitions = Partitions(s);
  const int64_t stretches = r.run / kLanes, work = s.out_size() * s.kernel_size() * kLanes;
  WithWindowSize(s, [&](auto height, auto width) {
    ParallelFor(r.outer() * stretches, std::max<int64_t>(16384 / std::max<int64_t>(work, 1), 1),
                [&](int64_t begin, int64_t end) {
                  for (int64_t item = begin; item < end; ++item) {
                    const int64_t outer = item / stretches, first = item % stretches * kLanes;
                    T* to = dx + outer * s.in_size() * r.run + first;
                    if (!partitions) {
                      const FloatLanes zero = {};
                      for (int64_t i = 0; i < s.in_size(); ++i) StoreLanes(zero, to + i * r.run);
                    }
                    int64_t from = outer * s.out_size() * r.run + first;
                    for (int64_t o = 0; o < s.out_size(); ++o, from += r.run) {
                      const int64_t ow = o % s.out[2], oh = o / s.out[2] % s.out[1],
                                    od = o / s.out[2] / s.out[1];
                      FloatLanes grad;
                      IntLanes place;
                      LoadLanes(dy + from, &grad);
                      LoadLanes(places + from, &place);
                      const FloatLanes zero = {};
                      ForPlaces<decltype(height)::value, decltype(width)::value>(
                          s, r.run, od, oh, ow, [&](int64_t at, int32_t k) {
                            const FloatLanes g = place == k ? grad : zero;
                            if (partitions) {
                              StoreLanes(g, to + at);
                            } else {
                              FloatLanes sum;
                              LoadLanes(to + at, &sum);
                              StoreLanes(sum + g, to + at);
                            }
                          });
                    }
                  }
                });
  });
}

// As above on any run, one element after the other.
template <typename T>
void ScatterPlain(const Sliding& s, const ChannelRuns& r, const T* dy, const uint8_t* places,
                  T* dx) {
  using C = Compute<T>;
  const int64_t work = s.out_size() * s.kernel_size() * r.run;
  ParallelFor(r.outer(), std::max<int64_t>(16384 / std::max<int64_t>(work, 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t outer = begin; outer < end; ++outer) {
                  T* to = dx + outer * s.in_size() * r.run;
                  for (int64_t i = 0; i < s.in_size() * r.run; ++i) to[i] = T(0);
                  int64_t from = outer * s.out_size() * r.run;
                  for (int64_t o = 0; o < s.out_size(); ++o, from += r.run) {
                    ForPlaces<0, 0>(s, r.run, o / s.out[2] / s.out[1], o / s.out[2] % s.out[1],
                                    o % s.out[2], [&](int64_t at, int32_t k) {
                                      for (int64_t l = 0; l < r.run; ++l) {
                                        if (places[from + l] != k) continue;
                                        to[at + l] = T(static_cast<C>(to[at + l]) +
                                                       static_cast<C>(dy[from + l]));
                                      }
                                    });
                  }
                }
              });
}

// 2 x 2 windows that step by 2 on row-major planes. REQUIRES: IsTwoByTwo.
template <typename T>
void ScatterPlanes(const Sliding& s, int64_t planes, const T* dy, const uint8_t* places, T* dx) {
  const int64_t width = s.in[2], out = s.out[2], rows = s.in[1];
  ParallelFor(planes * s.in[0], std::max<int64_t>(8192 / std::max<int64_t>(rows * width, 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t image = begin; image < end; ++image) {
                  for (int64_t h = 0; h < rows; ++h) {
                    T* to = dx + (image * rows + h) * width;
                    const int64_t row = (image * s.out[1] + h / 2) * out;
                    const auto base = static_cast<uint8_t>(h % 2 * 2);
                    const int64_t covered = h / 2 < s.out[1] ? out : 0;
                    for (int64_t ow = 0; ow < covered; ++ow) {
                      const uint8_t place = places[row + ow];
                      const T g = dy[row + ow];
                      to[2 * ow] = place == base ? g : T(0);
                      to[2 * ow + 1] = place == base + 1 ? g : T(0);
                    }
                    for (int64_t w = 2 * covered; w < width; ++w) to[w] = T(0);
                  }
                }
              });
}

}  // namespace graphrun
