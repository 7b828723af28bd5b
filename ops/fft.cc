#include "ops/fft.h"

#include <cmath>
#include <utility>

namespace graphrun {
namespace {

using Complex = std::complex<double>;
constexpr double kPi = 3.14159265358979323846;

// In place, length a power of two.
void PowerOfTwo(Complex* x, int64_t n, const std::vector<Complex>& roots) {
  for (int64_t i = 1, j = 0; i < n; ++i) {
    int64_t bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(x[i], x[j]);
  }
  for (int64_t half = 1; half < n; half *= 2) {
    const int64_t stride = n / (2 * half);
    for (int64_t start = 0; start < n; start += 2 * half) {
      for (int64_t k = 0; k < half; ++k) {
        const Complex w = roots[static_cast<size_t>(k * stride)];
        const Complex a = x[start + k], b = x[start + k + half];
        const Complex turned(b.real() * w.real() - b.imag() * w.imag(),
                             b.real() * w.imag() + b.imag() * w.real());
        x[start + k] = a + turned;
        x[start + k + half] = a - turned;
      }
    }
  }
}

}  // namespace

Fft::Fft(int64_t n) : n_(n), padded_(1) {
  const bool power = (n & (n - 1)) == 0;
  while (padded_ < (power ? n : 2 * n - 1)) padded_ *= 2;
  for (int64_t k = 0; k < padded_ / 2; ++k)
    roots_.push_back(
        std::polar(1.0, -2 * kPi * static_cast<double>(k) / static_cast<double>(padded_)));
  if (power) return;
  filter_.assign(static_cast<size_t>(padded_), Complex());
  for (int64_t k = 0; k < n; ++k) {
    // k^2 modulo 2n keeps the angle exact for long signals.
    const auto square = static_cast<int64_t>(static_cast<unsigned __int128>(k) *
                                             static_cast<unsigned __int128>(k) % (2 * n));
    chirp_.push_back(std::polar(1.0, -kPi * static_cast<double>(square) / static_cast<double>(n)));
    filter_[static_cast<size_t>(k)] = std::conj(chirp_.back());
    if (k > 0) filter_[static_cast<size_t>(padded_ - k)] = std::conj(chirp_.back());
  }
  PowerOfTwo(filter_.data(), padded_, roots_);
}

void Fft::Run(Complex* x, bool inverse, std::vector<Complex>* work) const {
  if (inverse) {
    for (int64_t i = 0; i < n_; ++i) x[i] = std::conj(x[i]);
  }
  if (chirp_.empty()) {
    PowerOfTwo(x, n_, roots_);
  } else {
    work->assign(static_cast<size_t>(padded_), Complex());
    for (int64_t i = 0; i < n_; ++i)
      (*work)[static_cast<size_t>(i)] = x[i] * chirp_[static_cast<size_t>(i)];
    PowerOfTwo(work->data(), padded_, roots_);
    // The inverse transform of the product, by conjugates.
    for (size_t i = 0; i < work->size(); ++i) (*work)[i] = std::conj((*work)[i] * filter_[i]);
    PowerOfTwo(work->data(), padded_, roots_);
    const double scale = 1 / static_cast<double>(padded_);
    for (int64_t i = 0; i < n_; ++i) {
      x[i] = std::conj((*work)[static_cast<size_t>(i)]) * scale * chirp_[static_cast<size_t>(i)];
    }
  }
  if (!inverse) return;
  for (int64_t i = 0; i < n_; ++i) x[i] = std::conj(x[i]) / static_cast<double>(n_);
}

}  // namespace graphrun
