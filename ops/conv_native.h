// Native convolution and its two gradients on row-major tensors, for any float; the oracle.
#pragma once

#include <algorithm>

#include "ops/conv_shape.h"
#include "runtime/base/parallel.h"

namespace graphrun {

inline int64_t ConvGrain(int64_t work_per_item) {
  return std::max<int64_t>(65536 / std::max<int64_t>(work_per_item, 1), 1);
}

// y = x * w + bias (null: none). Threads take output rows.
template <typename T>
void ConvForward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y) {
  using C = Compute<T>;
  const int64_t channels = s.groups * s.outputs, rows = s.out[0] * s.out[1];
  ParallelFor(s.batch * channels * rows, ConvGrain(s.inputs * s.kernel_size() * s.out[2]),
              [&](int64_t begin, int64_t end) {
                constexpr int64_t kBlock = 256;
                C sums[kBlock];
                for (int64_t r = begin; r < end; ++r) {
                  const int64_t oh = r % s.out[1], od = r / s.out[1] % s.out[0];
                  const int64_t channel = r / rows % channels, n = r / rows / channels;
                  const int64_t group = channel / s.outputs;
                  for (int64_t block = 0; block < s.out[2]; block += kBlock) {
                    const int64_t block_end = std::min(s.out[2], block + kBlock);
                    std::fill(sums, sums + (block_end - block),
                              bias == nullptr ? C(0) : static_cast<C>(bias[channel]));
                    for (int64_t i = 0; i < s.inputs; ++i) {
                      const T* plane = x + ((n * s.groups + group) * s.inputs + i) * s.in_size();
                      const T* weights = w + (channel * s.inputs + i) * s.kernel_size();
                      for (int64_t kd = 0; kd < s.kernel[0]; ++kd) {
                        const int64_t id = s.At(0, od, kd);
                        if (id < 0 || id >= s.in[0]) continue;
                        for (int64_t kh = 0; kh < s.kernel[1]; ++kh) {
                          const int64_t ih = s.At(1, oh, kh);
                          if (ih < 0 || ih >= s.in[1]) continue;
                          const T* row = plane + (id * s.in[1] + ih) * s.in[2];
                          for (int64_t kw = 0; kw < s.kernel[2]; ++kw) {
                            const C weight =
                                static_cast<C>(weights[(kd * s.kernel[1] + kh) * s.kernel[2] + kw]);
                            int64_t first, last;
                            s.Inside(2, kw, &first, &last);
                            first = std::max(first, block);
                            last = std::min(last, block_end);
                            const int64_t shift = kw * s.dilations[2] - s.pads[2],
                                          step = s.strides[2];
                            for (int64_t ow = first; ow < last; ++ow)
                              sums[ow - block] += weight * static_cast<C>(row[ow * step + shift]);
                          }
                        }
                      }
                    }
                    T* out = y + r * s.out[2];
                    for (int64_t ow = block; ow < block_end; ++ow) out[ow] = T(sums[ow - block]);
                  }
                }
              });
}

// dx, where dL/dy is given; plus `bias` per channel of x where that is not null (a transposed
// convolution). Threads take rows of dx.
template <typename T>
void ConvBackwardData(const ConvShape& s, const T* dy, const T* w, const T* bias, T* dx) {
  using C = Compute<T>;
  const int64_t channels = s.groups * s.inputs, rows = s.in[0] * s.in[1];
  ParallelFor(s.batch * channels * rows, ConvGrain(s.outputs * s.kernel_size() * s.in[2]),
              [&](int64_t begin, int64_t end) {
                constexpr int64_t kBlock = 256;
                C sums[kBlock];
                for (int64_t r = begin; r < end; ++r) {
                  const int64_t ih = r % s.in[1], id = r / s.in[1] % s.in[0];
                  const int64_t channel = r / rows % channels, n = r / rows / channels;
                  const int64_t group = channel / s.inputs, i = channel % s.inputs;
                  for (int64_t block = 0; block < s.in[2]; block += kBlock) {
                    const int64_t block_end = std::min(s.in[2], block + kBlock);
                    std::fill(sums, sums + (block_end - block),
                              bias == nullptr ? C(0) : static_cast<C>(bias[channel]));
                    for (int64_t o = 0; o < s.outputs; ++o) {
                      const int64_t out_channel = group * s.outputs + o;
                      const T* plane = dy + (n * s.groups * s.outputs + out_channel) * s.out_size();
                      const T* weights = w + (out_channel * s.inputs + i) * s.kernel_size();
                      for (int64_t kd = 0; kd < s.kernel[0]; ++kd) {
                        const int64_t zd = id + s.pads[0] - kd * s.dilations[0];
                        if (zd < 0 || zd % s.strides[0] != 0 || zd / s.strides[0] >= s.out[0])
                          continue;
                        for (int64_t kh = 0; kh < s.kernel[1]; ++kh) {
                          const int64_t zh = ih + s.pads[1] - kh * s.dilations[1];
                          if (zh < 0 || zh % s.strides[1] != 0 || zh / s.strides[1] >= s.out[1])
                            continue;
                          const T* row =
                              plane + (zd / s.strides[0] * s.out[1] + zh / s.strides[1]) * s.out[2];
                          for (int64_t kw = 0; kw < s.kernel[2]; ++kw) {
                            const C weight =
                                static_cast<C>(weights[(kd * s.kernel[1] + kh) * s.kernel[2] + kw]);
                            int64_t first, last;
                            s.Inside(2, kw, &first, &last);
                            const int64_t shift = kw * s.dilations[2] - s.pads[2],
                                          step = s.strides[2];
                            // outputs whose input position lies in this block
                            if (block > shift)
                              first = std::max(first, (block - shift + step - 1) / step);
                            if (block_end > shift) {
                              last = std::min(last, (block_end - shift + step - 1) / step);
                            } else {
                              last = first;
                            }
                            for (int64_t ow = first; ow < last; ++ow)
                              sums[ow * step + shift - block] += weight * static_cast<C>(row[ow]);
                          }
                        }
                      }
                    }
                    T* out = dx + r * s.in[2];
                    for (int64_t iw = block; iw < block_end; ++iw) out[iw] = T(sums[iw - block]);
                  }
                }
              });
}

// The sum of a[i] * b[i * step], in eight running sums.
template <typename T>
Compute<T> Dot(const T* a, const T* b, int64_t step, int64_t n) {
  using C = Compute<T>;
  C lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t l = 0; l < 8; ++l)
      lanes[l] += static_cast<C>(a[i + l]) * static_cast<C>(b[(i + l) * step]);
  }
  for (; i < n; ++i) lanes[0] += static_cast<C>(a[i]) * static_cast<C>(b[i * step]);
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

// dw, and db (null: not wanted). Threads take pairs of channels.
template <typename T>
void ConvBackwardWeights(const ConvShape& s, const T* x, const T* dy, T* dw, T* db) {
  using C = Compute<T>;
  const int64_t channels = s.groups * s.outputs;
  ParallelFor(
      channels * s.inputs, ConvGrain(s.batch * s.kernel_size() * s.out_size()),
      [&](int64_t begin, int64_t end) {
        for (int64_t pair = begin; pair < end; ++pair) {
          const int64_t channel = pair / s.inputs, i = pair % s.inputs;
          const int64_t group = channel / s.outputs;
          for (int64_t kd = 0; kd < s.kernel[0]; ++kd) {
            for (int64_t kh = 0; kh < s.kernel[1]; ++kh) {
              for (int64_t kw = 0; kw < s.kernel[2]; ++kw) {
                int64_t d0, d1, h0, h1, w0, w1;
                s.Inside(0, kd, &d0, &d1);
                s.Inside(1, kh, &h0, &h1);
                s.Inside(2, kw, &w0, &w1);
                C sum = 0;
                for (int64_t n = 0; n < s.batch; ++n) {
                  const T* plane = x + ((n * s.groups + group) * s.inputs + i) * s.in_size();
                  const T* grads = dy + (n * channels + channel) * s.out_size();
                  for (int64_t od = d0; od < d1; ++od) {
                    for (int64_t oh = h0; oh < h1; ++oh) {
                      if (w1 <= w0) continue;
                      const T* row =
                          plane + (s.At(0, od, kd) * s.in[1] + s.At(1, oh, kh)) * s.in[2];
                      sum += Dot(grads + (od * s.out[1] + oh) * s.out[2] + w0,
                                 row + s.At(2, w0, kw), s.strides[2], w1 - w0);
                    }
                  }
                }
                dw[((pair * s.kernel[0] + kd) * s.kernel[1] + kh) * s.kernel[2] + kw] = T(sum);
              }
            }
          }
        }
      });
  if (db == nullptr) return;
  ParallelFor(channels, ConvGrain(s.batch * s.out_size()), [&](int64_t begin, int64_t end) {
    for (int64_t channel = begin; channel < end; ++channel) {
      C sum = 0;
      for (int64_t n = 0; n < s.batch; ++n) {
        const T* grads = dy + (n * channels + channel) * s.out_size();
        for (int64_t i = 0; i < s.out_size(); ++i) sum += static_cast<C>(grads[i]);
      }
      db[channel] = T(sum);
    }
  });
}

}  // namespace graphrun
