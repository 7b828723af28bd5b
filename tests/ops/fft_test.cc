#include "ops/fft.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/base/rng.h"

namespace graphrun {
namespace {

using Signal = std::vector<std::complex<double>>;

Signal Random(int64_t n) {
  Rng rng(static_cast<uint64_t>(n));
  Signal x;
  for (int64_t i = 0; i < n; ++i) x.emplace_back(rng.Normal(), rng.Normal());
  return x;
}

// The definition, term by term.
Signal Plain(const Signal& x) {
  const auto n = static_cast<double>(x.size());
  Signal y(x.size());
  for (size_t k = 0; k < x.size(); ++k) {
    for (size_t j = 0; j < x.size(); ++j)
      y[k] += x[j] * std::polar(1.0, -2 * M_PI * static_cast<double>(j * k % x.size()) / n);
  }
  return y;
}

double Difference(const Signal& a, const Signal& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

TEST(FftTest, AgreesWithTheDefinitionForEveryLengthUpToFifty) {
  for (int64_t n = 1; n <= 50; ++n) {
    Signal x = Random(n), work;
    const Signal want = Plain(x);
    Fft<double>(n).Run(x.data(), false, &work);
    EXPECT_LT(Difference(x, want), 1e-12 * static_cast<double>(n)) << n;
  }
}

TEST(FftTest, SinglePrecisionIsOffByRoundingOnly) {
  for (const int64_t n : {2, 5, 10, 31, 37, 60, 128, 400, 512, 961}) {
    const Signal exact = Random(n);
    const Signal want = Plain(exact);
    std::vector<std::complex<float>> x(exact.begin(), exact.end()), work;
    Fft<float>(n).Run(x.data(), false, &work);
    EXPECT_LT(Difference(Signal(x.begin(), x.end()), want), 5e-7 * static_cast<double>(n)) << n;
  }
}

TEST(FftTest, InverseGivesTheSignalBack) {
  for (const int64_t n : {1, 2, 12, 64, 1000, 1021, 4096}) {
    const Signal x = Random(n);
    Signal y = x, work;
    const Fft<double> fft(n);
    fft.Run(y.data(), false, &work);
    fft.Run(y.data(), true, &work);
    EXPECT_LT(Difference(x, y), 1e-12) << n;
  }
}

}  // namespace
}  // namespace graphrun
