// The gradients of convolutions that sum over layouts of channels (kernels groups and tiles):
// against sums in f64 of the same numbers.
#include "ops/conv_groups.h"
#include "ops/conv_tiles.h"

#include <gtest/gtest.h>

#include "ops/ops.h"
#include "runtime/base/parallel.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

struct Case {
  std::string kernel;
  int64_t batch, groups, inputs, outputs;
  std::vector<int64_t> in, window, pads, strides, dilations;

  Dims With(int64_t first, int64_t second, const std::vector<int64_t>& spatial) const {
    Dims dims = {first, second};
    dims.insert(dims.end(), spatial.begin(), spatial.end());
    return dims;
  }
  Dims x() const { return With(batch, groups * inputs, in); }
  Dims w() const { return With(groups * outputs, inputs, window); }
  Dims y() const {
    std::vector<int64_t> out = in;
    for (size_t i = 0; i < in.size(); ++i) {
      const int64_t extent = (window[i] - 1) * dilations[i] + 1;
      out[i] = (in[i] + pads[i] + pads[i + in.size()] - extent) / strides[i] + 1;
    }
    return With(batch, groups * outputs, out);
  }
};

// Numbers that bf16 holds exactly.
Tensor TensorOf(DType dtype, const Dims& dims, int64_t seed) {
  Tensor t(dtype, dims);
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    const double v = static_cast<double>((i * 37 + i / 7 * 11 + seed * 5) % 61 - 30) / 32;
    if (dtype == DType::kBFloat16) {
      t.mutable_data<BFloat16>()[i] = BFloat16(static_cast<float>(v));
    } else if (dtype == DType::kFloat32) {
      t.mutable_data<float>()[i] = static_cast<float>(v);
    } else {
      t.mutable_data<double>()[i] = v;
    }
  }
  return t;
}

class ConvSumsTest : public testing::TestWithParam<Case> {
 protected:
  ConvSumsTest() { RegisterOps(registry_); }

  static std::vector<std::string> Operators() {
    if (GetParam().kernel == "tiles") return {"ConvGradWeight"};
    return {"ConvGradInput", "ConvGradWeight"};
  }
  static std::vector<DType> Types() {
    if (GetParam().kernel == "tiles") return {DType::kFloat32};
    return {DType::kFloat32, DType::kBFloat16};
  }

  absl::StatusOr<std::vector<Datum>> Gradient(const std::string& op, DType dtype,
                                              const std::string& kernel) {
    const Case& s = GetParam();
    const bool by_weights = op == "ConvGradWeight";
    Graph graph;
    Graph::NodeSpec spec;
    spec.op_type = op;
    spec.domain = "ai.graphrun";
    spec.attrs = {
        {"pads", s.pads}, {"strides", s.strides}, {"dilations", s.dilations}, {"group", s.groups}};
    if (by_weights && dtype == DType::kBFloat16) {
      spec.attrs.insert({"output_type", static_cast<int64_t>(DType::kFloat32)});
    }
    spec.outputs.resize(by_weights ? 2 : 1);
    std::vector<Datum> tensors;
    for (const Dims& dims : by_weights ? std::vector<Dims>{s.y(), s.x(), s.w()}
                                       : std::vector<Dims>{s.y(), s.w(), s.x()}) {
      tensors.push_back(Datum(TensorOf(dtype, dims, static_cast<int64_t>(tensors.size()))));
      spec.inputs.push_back(graph.AddInput("", Type::Tensor(dtype, Shape::Of(dims))));
    }
    spec.opset = registry_.Find(spec.domain, spec.op_type, 0)->since();
    Node* node = graph.AddNode(spec);
    GR_RETURN_IF_ERROR(InferTypes(graph, registry_));
    EvaluateOptions options;
    options.kernel = kernel;
    return EvaluateNode(*node, registry_, tensors, options);
  }

  OpRegistry registry_;
};

bool IsBuilt() {
  ConvShape s;
  s.batch = s.groups = 1;
  s.inputs = s.outputs = 16;
  return ServesTiles(s, DType::kFloat32, DType::kFloat32);
}

TEST_P(ConvSumsTest, GradientsAreTheExactOnesToTheRoundingsOfTheirType) {
  if (!IsBuilt()) GTEST_SKIP() << "built without AVX-512";
  for (const std::string& op : Operators()) {
    const auto want = Gradient(op, DType::kFloat64, "native");
    ASSERT_TRUE(want.ok()) << want.status().message();
    for (const DType dtype : Types()) {
      const auto got = Gradient(op, dtype, GetParam().kernel);
      ASSERT_TRUE(got.ok()) << got.status().message();
      for (size_t o = 0; o < want->size(); ++o) {
        const Tensor &g = (*got)[o].tensor, &w = (*want)[o].tensor;
        const double relative = g.dtype() == DType::kBFloat16 ? 1.0 / 256 : 1e-6;
        for (int64_t i = 0; i < w.num_elements(); ++i) {
          ASSERT_NEAR(g.AsDouble(i), w.AsDouble(i), relative * std::abs(w.AsDouble(i)) + 2e-5)
              << op << " " << DTypeName(dtype) << ", output " << o << ", element " << i;
        }
      }
    }
  }
}

TEST_P(ConvSumsTest, ThreadsChangeNoBit) {
  if (!IsBuilt()) GTEST_SKIP() << "built without AVX-512";
  const int before = NumThreads();
  for (const std::string& op : Operators()) {
    std::vector<std::vector<Datum>> all;
    for (const int threads : {1, 3}) {
      SetNumThreads(threads);
      auto made = Gradient(op, DType::kFloat32, GetParam().kernel);
      ASSERT_TRUE(made.ok()) << made.status().message();
      all.push_back(*std::move(made));
    }
    SetNumThreads(before);
    for (size_t o = 0; o < all[0].size(); ++o) {
      const Tensor &one = all[0][o].tensor, &three = all[1][o].tensor;
      for (int64_t i = 0; i < one.num_elements(); ++i) {
        ASSERT_EQ(one.AsDouble(i), three.AsDouble(i)) << op << " " << o << " " << i;
      }
    }
  }
}

// Every width of groups; numbers of channels that are no whole vectors; pads wider than the window,
// steps, dilations; one to three axes; rows shorter and longer than the sums that run beside each
// other.
INSTANTIATE_TEST_SUITE_P(
    Shapes, ConvSumsTest,
    testing::Values(
        Case{"groups", 2, 16, 1, 1, {9, 10}, {3, 3}, {1, 1, 1, 1}, {1, 1}, {1, 1}},
        Case{"groups", 1, 37, 1, 1, {8, 23}, {5, 5}, {4, 4, 4, 4}, {1, 1}, {2, 2}},
        Case{"groups", 2, 24, 1, 1, {7, 33}, {5, 3}, {2, 0, 3, 1}, {2, 3}, {1, 2}},
        Case{"groups", 2, 9, 2, 2, {5, 6}, {3, 3}, {1, 1, 1, 1}, {2, 2}, {1, 1}},
        Case{"groups", 1, 16, 2, 2, {17}, {4}, {5, 2}, {2}, {1}},
        Case{"groups", 2, 7, 4, 4, {6, 7}, {2, 3}, {0, 2, 1, 0}, {1, 2}, {1, 1}},
        Case{"groups", 2, 13, 8, 8, {14, 15}, {3, 3}, {1, 1, 1, 1}, {2, 2}, {1, 1}},
        Case{"groups", 3, 2, 8, 8, {5, 5}, {3, 3}, {1, 1, 1, 1}, {1, 1}, {1, 1}},
        Case{"groups", 2, 20, 1, 1, {3, 4, 5}, {3, 2, 3}, {1, 0, 1, 1, 1, 1}, {1, 2, 1}, {1, 1, 1}},
        Case{"groups", 1, 4, 4, 4, {4, 5, 3}, {3, 3, 3}, {1, 1, 1, 1, 1, 1}, {2, 1, 2}, {1, 1, 1}},
        Case{"groups", 2, 32, 1, 1, {40, 41}, {3, 3}, {1, 1, 1, 1}, {1, 1}, {1, 1}},
        Case{"tiles", 2, 1, 16, 16, {5, 6}, {3, 3}, {1, 1, 1, 1}, {1, 1}, {1, 1}},
        Case{"tiles", 1, 1, 32, 48, {2, 7, 7}, {3, 3, 3}, {1, 1, 1, 1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
        Case{"tiles", 2, 1, 48, 32, {1, 4, 4}, {3, 3, 3}, {1, 1, 1, 1, 1, 1}, {2, 2, 2}, {1, 1, 1}},
        Case{"tiles", 2, 1, 16, 32, {11}, {4}, {5, 2}, {2}, {2}},
        Case{"tiles", 3, 1, 32, 16, {6, 9}, {2, 3}, {4, 0, 1, 3}, {1, 2}, {1, 2}}));

}  // namespace
}  // namespace graphrun
