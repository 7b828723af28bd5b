// Fft: the discrete Fourier transform of one length.
//
// Source: Cooley and Tukey (1965) for powers of two; Bluestein (1970) for other lengths.
#pragma once

#include <complex>
#include <vector>

namespace graphrun {

class Fft {
 public:
  // REQUIRES: n >= 1.
  explicit Fft(int64_t n);
  // y[k] = sum over j of x[j] exp(-2 pi i j k / n), or with exp(+...) and divided by n where
  // `inverse`. x [n] is replaced; `work` is a buffer that grows as needed.
  void Run(std::complex<double>* x, bool inverse, std::vector<std::complex<double>>* work) const;

 private:
  int64_t n_, padded_;
  std::vector<std::complex<double>> roots_;  // of the padded length: exp(-2 pi i k / padded)
  // Bluestein: exp(-pi i k^2 / n), and the transform of its conjugate.
  std::vector<std::complex<double>> chirp_, filter_;
};

}  // namespace graphrun
