// Fft: the discrete Fourier transform of one length.
//
// Source: Cooley and Tukey (1965), in Stockham's order, for lengths without large prime factors;
// Bluestein (1970) for the others.
#pragma once

#include <complex>
#include <cstdint>
#include <vector>

namespace graphrun {

// T: float or double, the arithmetic of the transform (Bluestein's is always double).
template <typename T>
class Fft {
 public:
  using Complex = std::complex<T>;

  // REQUIRES: n >= 1.
  explicit Fft(int64_t n);
  // y[k] = sum over j of x[j] exp(-2 pi i j k / n), or with exp(+...) and divided by n where
  // `inverse`. x [n] is replaced; `work` is a buffer that grows as needed.
  void Run(Complex* x, bool inverse, std::vector<Complex>* work) const;

 private:
  // One step: `before` groups of `radix` runs of `run` elements each.
  struct Pass {
    int64_t radix, before, run;
    std::vector<Complex> twiddles;  // [radix - 1, run]
    std::vector<Complex> roots;     // exp(-2 pi i k / radix), for odd radices
  };
  void Step(const Pass& pass, const Complex* x, Complex* y) const;
  void Bluestein(Complex* x) const;

  int64_t n_;
  std::vector<Pass> passes_;  // none: Bluestein
  // exp(-pi i k^2 / n), and the transform of its conjugate, whose length is a power of two.
  std::vector<std::complex<double>> chirp_, filter_;
  std::vector<Fft<double>> padded_;  // one, where needed
};

extern template class Fft<float>;
extern template class Fft<double>;

}  // namespace graphrun
