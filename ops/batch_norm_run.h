// What the kernels of batch normalisation share around their loops: scratch rows, the batch's
// statistics as outputs, and the factors of the affine maps that the loops apply.
#pragma once

#include "ops/batch_norm_kernel.h"
#include "runtime/op/kernel.h"

namespace graphrun {

inline void LoadDoubles(const Tensor& t, double* to) {
  DispatchDType(FloatTypes(), t.dtype(), [&]<typename T>() {
    const T* from = t.data<T>();
    for (int64_t i = 0; i < t.num_elements(); ++i)
      to[i] = static_cast<double>(static_cast<Compute<T>>(from[i]));
  });
}

inline void StoreDoubles(const double* from, Tensor* t) {
  DispatchDType(FloatTypes(), t->dtype(), [&]<typename T>() {
    T* to = t->mutable_data<T>();
    for (int64_t i = 0; i < t->num_elements(); ++i) to[i] = T(static_cast<Compute<T>>(from[i]));
  });
}

// Scratch memory of a run: the blocks' sums, then rows of C doubles.
struct NormRows {
  NormRows(const BatchNormShape& s, void* scratch)
      : partial(static_cast<double*>(scratch)),
        first(partial + s.partial_bytes() / static_cast<int64_t>(sizeof(double))),
        channels(s.channels()) {}
  static int64_t Bytes(const BatchNormShape& s, int rows) {
    return s.partial_bytes() + rows * s.channels() * static_cast<int64_t>(sizeof(double));
  }
  double* row(int i) const { return first + i * channels; }
  template <typename C>
  C* row_as(int i) const {
    return reinterpret_cast<C*>(row(i));
  }
  double *partial, *first;
  int64_t channels;
};

// Rows 0 and 1: mean and variance of x. Where asked for, outputs 1 and 2: the running ones after
// inputs 3 and 4; outputs 3 and 4: the batch's. Takes row 4.
template <typename T>
void TrainingStatistics(RunContext& r, const BatchNormShape& s, const NormRows& rows, const T* x,
                        double momentum) {
  double *mean = rows.row(0), *variance = rows.row(1), *old = rows.row(4);
  BatchStatistics(s, x, rows.partial, mean, variance);
  for (const int i : {1, 2}) {
    if (!r.has_output(i)) continue;
    LoadDoubles(r.input(i + 2), old);
    const double* batch = i == 1 ? mean : variance;
    for (int64_t k = 0; k < s.channels(); ++k)
      old[k] = momentum * old[k] + (1 - momentum) * batch[k];
    StoreDoubles(old, &r.output(i));
  }
  // rounded as the gradient will read them, which computes the same numbers from them
  for (const int i : {3, 4}) {
    if (!r.has_output(i)) continue;
    StoreDoubles(i == 3 ? mean : variance, &r.output(i));
    LoadDoubles(r.output(i), i == 3 ? mean : variance);
  }
}

// a and b of scale (x - mean) / sqrt(variance + epsilon) + bias = a x + b.
template <typename C>
void AffineFactors(const NormRows& rows, const double* scale, const double* bias, double epsilon,
                   C* a, C* b) {
  const double *mean = rows.row(0), *variance = rows.row(1);
  for (int64_t k = 0; k < rows.channels; ++k) {
    const double factor = scale[k] / std::sqrt(variance[k] + epsilon);
    a[k] = static_cast<C>(factor);
    b[k] = static_cast<C>(bias[k] - mean[k] * factor);
  }
}

// Rows 2 and 3 (as C): a and b of y = a x + b, from rows 0 and 1 and inputs 1 and 2. Takes rows 4
// and 5.
template <typename C>
void NormFactors(RunContext& r, const NormRows& rows, double epsilon) {
  double *scale = rows.row(4), *bias = rows.row(5);
  LoadDoubles(r.input(1), scale);
  LoadDoubles(r.input(2), bias);
  AffineFactors(rows, scale, bias, epsilon, rows.row_as<C>(2), rows.row_as<C>(3));
}

// Row 5 (as C): the means of row 0, rounded for the loops that sum over centred x.
template <typename C>
const C* Centres(const NormRows& rows) {
  C* centre = rows.row_as<C>(5);
  for (int64_t k = 0; k < rows.channels; ++k) centre[k] = static_cast<C>(rows.row(0)[k]);
  return centre;
}

// Rows 6, 7 and 8 (as C): a, b and d of dx = a g + b x + d, from mean and variance (rows 0 and 1),
// the sums of g and g (x - centre) (pairs in rows 3 and 4), the centres and the scale (row 2).
// Where asked for, outputs 1 and 2: the gradients of scale and bias. Takes row 9.
template <typename C>
void GradientFactors(RunContext& r, const BatchNormShape& s, const NormRows& rows, double epsilon) {
  const double *mean = rows.row(0), *variance = rows.row(1), *scale = rows.row(2),
               *sums = rows.row(3);
  const C* centre = rows.row_as<C>(5);
  C *a = rows.row_as<C>(6), *b = rows.row_as<C>(7), *d = rows.row_as<C>(8);
  double* out = rows.row(9);
  const double terms = static_cast<double>(std::max<int64_t>(s.terms(), 1));
  for (int64_t k = 0; k < rows.channels; ++k) {
    const double inverse = 1 / std::sqrt(variance[k] + epsilon);
    const double factor = scale[k] * inverse;
    // the sum of g (x - mean) with the mean as rounded for the loop
    const double v = sums[2 * k + 1] + sums[2 * k] * (static_cast<double>(centre[k]) - mean[k]);
    const double slope = -factor * inverse * inverse * v / terms;
    a[k] = static_cast<C>(factor);
    b[k] = static_cast<C>(slope);
    d[k] = static_cast<C>(-factor * sums[2 * k] / terms - slope * mean[k]);
    out[k] = v * inverse;
  }
  if (r.has_output(1)) StoreDoubles(out, &r.output(1));
  if (r.has_output(2)) {
    for (int64_t k = 0; k < rows.channels; ++k) out[k] = sums[2 * k];
    StoreDoubles(out, &r.output(2));
  }
}

// The activation that a normalisation of ours applies: none, Relu, Clip; as bounds.
struct NormActivation {
  double low = -std::numeric_limits<double>::infinity(),
         high = std::numeric_limits<double>::infinity();
  bool relu = false;

  static NormActivation Of(const NodeContext& c) {
    NormActivation a;
    const std::string name = c.String("activation");
    a.relu = name == "Relu";
    if (a.relu) a.low = 0;
    if (name == "Clip") {
      a.low = c.Float("activation_alpha");
      a.high = c.Float("activation_beta");
    }
    return a;
  }
  bool is_none() const { return std::isinf(low) && std::isinf(high); }
  // Which gradients pass: of numbers above 0 (Relu), or within the bounds and on them (Clip). Input
  // 5 is the bias; takes rows 9, 10 and 11.
  template <typename C>
  NormGate<C> Gate(RunContext& r, const NormRows& rows, double epsilon) const {
    C *a = rows.row_as<C>(10), *b = rows.row_as<C>(11);
    LoadDoubles(r.input(5), rows.row(9));
    AffineFactors(rows, rows.row(2), rows.row(9), epsilon, a, b);
    const C lowest = relu ? std::numeric_limits<C>::min() : static_cast<C>(low);
    return {a, b, lowest, static_cast<C>(high)};
  }
};

}  // namespace graphrun
