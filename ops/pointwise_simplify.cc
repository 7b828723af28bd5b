#include "ops/pointwise_simplify.h"

#include <functional>
#include <vector>

#include "ops/vector_math.h"

namespace graphrun {
namespace {

struct Plus {
  float operator()(float product, float c) const { return product + c; }
};
struct Minus {
  float operator()(float product, float c) const { return product - c; }
};
struct From {
  float operator()(float product, float c) const { return c - product; }
};

// combine(x0 * x1, x2) where x0 (kFactor 1) or x1 (kFactor 2) and x2 (kTerm) may be single elements
template <typename Combine, int kFactor, bool kTerm>
void ProductBlock(const float* const* x, int, float* y, int64_t n, const float*) {
  const float *a = x[0], *b = x[1], *c = x[2];
  const float a0 = a[0], b0 = b[0], c0 = c[0];
  GR_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const float product = (kFactor == 1 ? a0 : a[i]) * (kFactor == 2 ? b0 : b[i]);
    y[i] = Combine()(product, kTerm ? c0 : c[i]);
  }
}

template <typename Combine>
void SetProductBlocks(PointwiseProgram::Step* step) {
  step->block = &ProductBlock<Combine, 0, false>;
  step->scalar_blocks = {{1u, &ProductBlock<Combine, 1, false>},
                         {2u, &ProductBlock<Combine, 2, false>},
                         {4u, &ProductBlock<Combine, 0, true>},
                         {5u, &ProductBlock<Combine, 1, true>},
                         {6u, &ProductBlock<Combine, 2, true>}};
}

template <typename F>
void LeftScalarBlock(const float* const* x, int, float* y, int64_t n, const float*) {
  const float a = x[0][0];
  const float* b = x[1];
  GR_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = F()(a, b[i]);
}
template <typename F>
void RightScalarBlock(const float* const* x, int, float* y, int64_t n, const float*) {
  const float* a = x[0];
  const float b = x[1][0];
  GR_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = F()(a[i], b);
}

template <typename F>
void SetScalarBlocks(PointwiseProgram::Step* step) {
  step->scalar_blocks = {{1u, &LeftScalarBlock<F>}, {2u, &RightScalarBlock<F>}};
}

}  // namespace

void SimplifyProgram(const PointwiseCode& code, PointwiseProgram* program) {
  const int first = program->first_result();
  std::vector<int> reads(static_cast<size_t>(program->num_values()), 0);
  for (const auto& step : program->steps) {
    for (const int a : step.args) {
      if (a >= 0) ++reads[static_cast<size_t>(a)];
    }
  }
  for (const int o : program->outputs) reads[static_cast<size_t>(o)] += 2;
  const auto is = [&](size_t s, const char* op) {
    return code.steps[s].domain.empty() && code.steps[s].op_type == op;
  };
  for (size_t s = 0; s < program->steps.size(); ++s) {
    PointwiseProgram::Step& step = program->steps[s];
    if (is(s, "Add")) SetScalarBlocks<std::plus<float>>(&step);
    if (is(s, "Sub")) SetScalarBlocks<std::minus<float>>(&step);
    if (is(s, "Mul")) SetScalarBlocks<std::multiplies<float>>(&step);
    if (is(s, "Div")) SetScalarBlocks<std::divides<float>>(&step);
    if (is(s, "Greater")) SetScalarBlocks<std::greater<float>>(&step);
  }
  std::vector<bool> gone(program->steps.size(), false);
  for (size_t s = 0; s < program->steps.size(); ++s) {
    PointwiseProgram::Step& step = program->steps[s];
    if (!is(s, "Add") && !is(s, "Sub")) continue;
    for (const size_t k : {size_t{0}, size_t{1}}) {
      const int product = step.args[k];
      if (product < first || reads[static_cast<size_t>(product)] != 1) continue;
      const auto p = static_cast<size_t>(product - first);
      if (!is(p, "Mul") || gone[p]) continue;
      const std::vector<int>& factors = program->steps[p].args;
      step.args = {factors[0], factors[1], step.args[1 - k]};
      if (is(s, "Add")) SetProductBlocks<Plus>(&step);
      if (is(s, "Sub") && k == 0) SetProductBlocks<Minus>(&step);
      if (is(s, "Sub") && k == 1) SetProductBlocks<From>(&step);
      gone[p] = true;
      break;
    }
  }
  std::vector<int> place(static_cast<size_t>(program->num_values()));
  int next = 0;
  std::vector<PointwiseProgram::Step> kept;
  for (int v = 0; v < program->num_values(); ++v) {
    place[static_cast<size_t>(v)] = next;
    if (v < first) {
      ++next;
    } else if (!gone[static_cast<size_t>(v - first)]) {
      ++next;
      kept.push_back(std::move(program->steps[static_cast<size_t>(v - first)]));
    }
  }
  for (auto& step : kept) {
    for (int& a : step.args) a = a < 0 ? a : place[static_cast<size_t>(a)];
  }
  for (int& o : program->outputs) o = place[static_cast<size_t>(o)];
  program->steps = std::move(kept);
}

}  // namespace graphrun
