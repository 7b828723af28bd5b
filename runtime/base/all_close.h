// AllClose: compares computed values with expected ones as tests of numbers do.
#pragma once

#include "absl/status/status.h"
#include "runtime/base/tensor.h"

namespace graphrun {

struct Tolerance {
  double rtol = 1e-3, atol = 1e-7;
};

// Ok where types and sizes are the same and each element of a float or complex tensor satisfies
// |got - want| <= atol + rtol * |want|, NaN equal to NaN and infinities only to themselves (the
// rule of numpy.testing.assert_allclose); all other elements must be equal. Containers are compared
// item by item. Errors: kNumeric, with the number of elements that differ and the worst of them.
absl::Status AllClose(const Tensor& got, const Tensor& want, const Tolerance& tolerance);
absl::Status AllClose(const Datum& got, const Datum& want, const Tolerance& tolerance);

}  // namespace graphrun
