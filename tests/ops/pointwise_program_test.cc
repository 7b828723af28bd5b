// Programs on blocks: groups, broadcasting, layouts, outputs in the memory of inputs.
#include "ops/pointwise_program.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/vector_math.h"

namespace graphrun {
namespace {

using Access = PointwiseGroup::Access;

void Multiply(const float* const* x, int, float* y, int64_t n, const float*) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[0][i] * x[1][i];
}
void Subtract(const float* const* x, int, float* y, int64_t n, const float*) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[0][i] - x[1][i];
}

std::vector<float> Numbers(int64_t n, float scale = 1) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = scale * static_cast<float>(static_cast<int>(i * 37 % 101) - 50);
  return x;
}

// (a * b, a - b) of inputs a and b
PointwiseProgram ProductAndDifference() {
  PointwiseProgram p;
  p.num_inputs = 2;
  p.steps = {{Multiply, {}, {}, {0, 1}}, {Subtract, {}, {}, {0, 1}}};
  p.outputs = {2, 3};
  return p;
}

TEST(PointwiseProgramTest, ReadsAnInputToTheEndBeforeItsMemoryIsOverwritten) {
  // The product takes a's memory although the difference still reads a.
  const int64_t n = 3000;
  std::vector<float> a = Numbers(n), b = Numbers(n, 0.5f), difference(static_cast<size_t>(n));
  const std::vector<float> before = a;
  const PointwiseGroup group = MakePointwiseGroup({n}, Layout(), {{n}, {n}});
  const PointwiseExecutor run(ProductAndDifference(), {DType::kFloat32, DType::kFloat32},
                              {DType::kFloat32, DType::kFloat32}, group.access);
  const void* in[] = {a.data(), b.data()};
  void* out[] = {a.data(), difference.data()};
  run.Run({&group, 1}, in, out);
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i], before[i] * b[i]);
    ASSERT_EQ(difference[i], before[i] - b[i]);
  }
}

TEST(PointwiseProgramTest, RunsGroupsOfDifferentSizes) {
  const std::vector<int64_t> sizes = {1, 5000, 0, 63, 40000};
  std::vector<std::vector<float>> a, b, product, difference;
  std::vector<PointwiseGroup> groups;
  std::vector<const void*> in;
  std::vector<void*> out;
  for (const int64_t n : sizes) {
    a.push_back(Numbers(n));
    b.push_back(Numbers(n, 3));
    product.emplace_back(static_cast<size_t>(n));
    difference.emplace_back(static_cast<size_t>(n));
    groups.push_back(MakePointwiseGroup({n, 1}, Layout(), {{n, 1}, {n, 1}}));
  }
  for (size_t g = 0; g < sizes.size(); ++g) {
    in.insert(in.end(), {a[g].data(), b[g].data()});
    out.insert(out.end(), {product[g].data(), difference[g].data()});
  }
  const PointwiseExecutor run(ProductAndDifference(), {DType::kFloat32, DType::kFloat32},
                              {DType::kFloat32, DType::kFloat32}, groups[0].access);
  run.Run(groups, in, out);
  for (size_t g = 0; g < sizes.size(); ++g) {
    for (size_t i = 0; i < a[g].size(); ++i) {
      ASSERT_EQ(product[g][i], a[g][i] * b[g][i]);
      ASSERT_EQ(difference[g][i], a[g][i] - b[g][i]);
    }
  }
}

TEST(PointwiseProgramTest, BroadcastsOverABlockedLayout) {
  // a [2, 32, 3] in blocks of 16 channels (aBc16b), b [32, 1] row-major.
  const Dims dims = {2, 32, 3};
  const Layout layout = Layout::Blocked(dims, {96, 48, 16}, dims, {{1, 16}});
  const PointwiseGroup group = MakePointwiseGroup(dims, layout, {dims, {32, 1}});
  EXPECT_EQ(group.access[1], Access::kStrided);
  std::vector<float> a = Numbers(192), b = Numbers(32), product(192), difference(192);
  const PointwiseExecutor run(ProductAndDifference(), {DType::kFloat32, DType::kFloat32},
                              {DType::kFloat32, DType::kFloat32}, group.access);
  const void* in[] = {a.data(), b.data()};
  void* out[] = {product.data(), difference.data()};
  run.Run({&group, 1}, in, out);
  for (size_t n = 0; n < 2; ++n) {
    for (size_t c = 0; c < 32; ++c) {
      for (size_t w = 0; w < 3; ++w) {
        const size_t at = n * 96 + c / 16 * 48 + w * 16 + c % 16;
        ASSERT_EQ(product[at], a[at] * b[c]) << n << " " << c << " " << w;
      }
    }
  }
}

TEST(PointwiseProgramTest, RoundsToBfloat16OnlyInMemory) {
  const int64_t n = 2000;
  std::vector<BFloat16> a(static_cast<size_t>(n)), y(static_cast<size_t>(n)),
      z(static_cast<size_t>(n));
  std::vector<float> b = Numbers(n, 0.01f);
  for (size_t i = 0; i < a.size(); ++i) a[i] = BFloat16(b[i] * 3 + 1);
  const PointwiseGroup group = MakePointwiseGroup({n}, Layout(), {{n}, {n}});
  const PointwiseExecutor run(ProductAndDifference(), {DType::kBFloat16, DType::kFloat32},
                              {DType::kBFloat16, DType::kBFloat16}, group.access);
  const void* in[] = {a.data(), b.data()};
  void* out[] = {y.data(), z.data()};
  run.Run({&group, 1}, in, out);
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(y[i].bits, BFloat16(static_cast<float>(a[i]) * b[i]).bits);
    ASSERT_EQ(z[i].bits, BFloat16(static_cast<float>(a[i]) - b[i]).bits);
  }
}

TEST(PointwiseProgramTest, EvaluatesOneElement) {
  const std::vector<float> y = ProductAndDifference().Evaluate({3.0f, 4.0f});
  EXPECT_EQ(y, (std::vector<float>{12, -1}));
}

}  // namespace
}  // namespace graphrun
