// Runs graphs that losses, optimizers, schedules and regularizers emit, on float64 values.
#pragma once

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/expr.h"

namespace graphrun {

using Numbers = std::vector<double>;

class Emitted {
 public:
  Emitted() : builder_(&graph_, &registry_) { RegisterOps(registry_); }

  Graph& graph() { return graph_; }
  const OpRegistry& registry() const { return registry_; }
  Builder& builder() { return builder_; }
  Expr Input(const std::string& name, const Dims& dims, DType dtype = DType::kFloat64) {
    return builder_.Use(graph_.AddInput(name, Type::Tensor(dtype, Shape::Of(dims))));
  }
  void Set(const std::string& name, const Dims& dims, const Numbers& values) {
    inputs_[name] = Tensor::Of<double>(dims, absl::MakeConstSpan(values));
  }
  void SetInts(const std::string& name, const Dims& dims, const std::vector<int64_t>& values) {
    inputs_[name] = Tensor::Of<int64_t>(dims, absl::MakeConstSpan(values));
  }
  // The graph's outputs as numbers; empty where something failed (with a test failure).
  std::vector<Numbers> Run() {
    EXPECT_TRUE(builder_.status().ok()) << builder_.status().message();
    auto outputs = EvaluateGraph(graph_, registry_, inputs_);
    std::vector<Numbers> numbers(graph_.outputs().size());
    EXPECT_TRUE(outputs.ok()) << outputs.status().message();
    for (size_t i = 0; outputs.ok() && i < outputs->size(); ++i) {
      const Tensor& t = (*outputs)[i].tensor;
      for (int64_t e = 0; e < t.num_elements(); ++e) numbers[i].push_back(t.AsDouble(e));
    }
    return numbers;
  }

 private:
  OpRegistry registry_;
  Graph graph_;
  Builder builder_;
  absl::flat_hash_map<std::string, Datum> inputs_;
};

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

inline void ExpectNear(const Numbers& actual, const Numbers& expected, const std::string& what,
                       double relative = 1e-12) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], relative * std::max(1.0, std::abs(expected[i])))
        << what << ", element " << i;
  }
}

}  // namespace graphrun
