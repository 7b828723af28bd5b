#include "ops/fft.h"

#include <algorithm>
#include <cmath>

namespace graphrun {
namespace {

constexpr double kPi = 3.14159265358979323846;
// Primes above this go Bluestein's way.
constexpr int64_t kLargestRadix = 31;

template <typename T>
std::complex<T> Root(int64_t k, int64_t n) {
  const double angle = -2 * kPi * static_cast<double>(k) / static_cast<double>(n);
  return {static_cast<T>(std::cos(angle)), static_cast<T>(std::sin(angle))};
}

template <typename T>
std::complex<T> Mul(std::complex<T> a, std::complex<T> b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

template <typename T>
std::complex<T> TimesMinusI(std::complex<T> a) {
  return {a.imag(), -a.real()};
}

// Radices in the order of the steps; empty where a prime is too large.
std::vector<int64_t> Radices(int64_t n) {
  std::vector<int64_t> radices;
  for (; n % 4 == 0; n /= 4) radices.push_back(4);
  if (n % 2 == 0) {
    radices.insert(radices.begin(), 2);
    n /= 2;
  }
  for (int64_t p = 3; p <= kLargestRadix; p += 2) {
    for (; n % p == 0; n /= p) radices.push_back(p);
  }
  if (n > 1) radices.clear();
  return radices;
}

// y[u] = the transform of `radix` elements of x that are `run` apart; y's are `far` apart.
template <typename T>
void Butterfly2(const std::complex<T>* x, int64_t run, std::complex<T>* y, int64_t far) {
  const std::complex<T> a = x[0], b = x[run];
  y[0] = a + b;
  y[far] = a - b;
}

template <typename T>
void Butterfly4(const std::complex<T>* x, int64_t run, std::complex<T>* y, int64_t far) {
  const std::complex<T> a = x[0] + x[2 * run], b = x[0] - x[2 * run];
  const std::complex<T> c = x[run] + x[3 * run], d = TimesMinusI(x[run] - x[3 * run]);
  y[0] = a + c;
  y[far] = b + d;
  y[2 * far] = a - c;
  y[3 * far] = b - d;
}

// Elements j and radix - j go together: their sum meets cosines, their difference sines.
template <typename T>
void ButterflyOdd(const std::complex<T>* x, int64_t run, std::complex<T>* y, int64_t far,
                  int64_t radix, const std::complex<T>* roots) {
  const int64_t half = radix / 2;
  std::complex<T> sums[kLargestRadix / 2 + 1], differences[kLargestRadix / 2 + 1];
  std::complex<T> all = x[0];
  for (int64_t j = 1; j <= half; ++j) {
    sums[j] = x[j * run] + x[(radix - j) * run];
    differences[j] = x[j * run] - x[(radix - j) * run];
    all += sums[j];
  }
  y[0] = all;
  for (int64_t u = 1; u <= half; ++u) {
    std::complex<T> a = x[0];
    T re = 0, im = 0;
    int64_t at = 0;
    for (int64_t j = 1; j <= half; ++j) {
      at += u;
      if (at >= radix) at -= radix;
      const T cosine = roots[at].real(), sine = roots[at].imag();
      a += std::complex<T>(cosine * sums[j].real(), cosine * sums[j].imag());
      re += sine * differences[j].real();
      im += sine * differences[j].imag();
    }
    y[u * far] = {a.real() - im, a.imag() + re};
    y[(radix - u) * far] = {a.real() + im, a.imag() - re};
  }
}

}  // namespace

template <typename T>
Fft<T>::Fft(int64_t n) : n_(n) {
  int64_t before = 1;
  for (const int64_t radix : Radices(n)) {
    Pass pass{radix, before, n / (before * radix), {}, {}};
    for (int64_t u = 1; u < radix; ++u) {
      for (int64_t i = 0; i < pass.run; ++i) {
        pass.twiddles.push_back(Root<T>(u * i, radix * pass.run));
      }
    }
    for (int64_t k = 0; k < radix && radix % 2 == 1; ++k) pass.roots.push_back(Root<T>(k, radix));
    before *= radix;
    passes_.push_back(std::move(pass));
  }
  if (!passes_.empty() || n == 1) return;
  int64_t padded = 1;
  while (padded < 2 * n - 1) padded *= 2;
  padded_.emplace_back(padded);
  filter_.assign(static_cast<size_t>(padded), 0);
  for (int64_t k = 0; k < n; ++k) {
    // k^2 modulo 2n keeps the angle exact for long signals.
    const auto square = static_cast<int64_t>(static_cast<unsigned __int128>(k) *
                                             static_cast<unsigned __int128>(k) % (2 * n));
    chirp_.push_back(Root<double>(square, 2 * n));
    filter_[static_cast<size_t>(k)] = std::conj(chirp_.back());
    if (k > 0) filter_[static_cast<size_t>(padded - k)] = std::conj(chirp_.back());
  }
  std::vector<std::complex<double>> work;
  padded_[0].Run(filter_.data(), false, &work);
}

template <typename T>
void Fft<T>::Step(const Pass& pass, const Complex* x, Complex* y) const {
  const int64_t run = pass.run, far = pass.before * run;
  for (int64_t k = 0; k < pass.before; ++k) {
    for (int64_t i = 0; i < run; ++i) {
      const Complex* from = x + k * pass.radix * run + i;
      Complex* to = y + k * run + i;
      if (pass.radix == 4) {
        Butterfly4(from, run, to, far);
      } else if (pass.radix == 2) {
        Butterfly2(from, run, to, far);
      } else {
        ButterflyOdd(from, run, to, far, pass.radix, pass.roots.data());
      }
      for (int64_t u = 1; u < pass.radix && i > 0; ++u) {
        to[u * far] = Mul(to[u * far], pass.twiddles[static_cast<size_t>((u - 1) * run + i)]);
      }
    }
  }
}

template <typename T>
void Fft<T>::Bluestein(Complex* x) const {
  std::vector<std::complex<double>> product(filter_.size()), work;
  for (int64_t i = 0; i < n_; ++i) {
    const auto k = static_cast<size_t>(i);
    product[k] = Mul(std::complex<double>(x[i]), chirp_[k]);
  }
  padded_[0].Run(product.data(), false, &work);
  for (size_t i = 0; i < product.size(); ++i) product[i] = Mul(product[i], filter_[i]);
  padded_[0].Run(product.data(), true, &work);
  for (int64_t i = 0; i < n_; ++i) {
    const auto k = static_cast<size_t>(i);
    x[i] = Complex(Mul(product[k], chirp_[k]));
  }
}

template <typename T>
void Fft<T>::Run(Complex* x, bool inverse, std::vector<Complex>* work) const {
  if (inverse) {
    for (int64_t i = 0; i < n_; ++i) x[i] = std::conj(x[i]);
  }
  if (!padded_.empty()) {
    Bluestein(x);
  } else {
    work->resize(static_cast<size_t>(n_));
    Complex *from = x, *to = work->data();
    for (const Pass& pass : passes_) {
      Step(pass, from, to);
      std::swap(from, to);
    }
    if (from != x) std::copy(from, from + n_, x);
  }
  if (!inverse) return;
  const T scale = T(1) / static_cast<T>(n_);
  for (int64_t i = 0; i < n_; ++i) x[i] = {x[i].real() * scale, x[i].imag() * -scale};
}

template class Fft<float>;
template class Fft<double>;

}  // namespace graphrun
