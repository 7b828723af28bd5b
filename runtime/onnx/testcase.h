// TestCase: a case in the layout of the standard's test suite.
//
//   CASE/model.onnx  CASE/test_data_set_0/{input_0.pb, ..., output_0.pb, ...}  CASE/data.json
//
// data.json may give tolerances ("rtol", "atol"). The suite's light models come as
// real/CASE/data.json alone, whose "url" names ../../light/NAME.onnx; its outputs are
// light/NAME_output_0.pb and its inputs follow a rule (LightInput).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/tensor.h"
#include "runtime/ir/graph.h"

namespace graphrun {

struct TestDataSet {
  std::string name;            // "test_data_set_0"
  std::vector<Datum> inputs;   // as Graph::inputs(); of unknown kind where the set has none
  std::vector<Datum> outputs;  // as Graph::outputs(), as many as the set has
};

struct TestCase {
  std::string name;  // the folder's
  std::string model_path;
  std::unique_ptr<Graph> graph;
  double rtol = 1e-3, atol = 1e-7;  // an output passes where |got - want| <= atol + rtol * |want|
  std::vector<TestDataSet> data_sets;
};

// True where `folder` looks like a case: it has model.onnx, or a data.json that names a model.
bool IsTestCase(const std::string& folder);

// Inputs are matched by the names that their files carry where all of them are names of inputs, in
// order otherwise. Errors: those of ImportOnnx; kData for values.
absl::StatusOr<TestCase> LoadTestCase(const std::string& folder);

// arange(n) / n in float32, n the number of elements.
absl::StatusOr<Tensor> LightInput(const Type& type);

}  // namespace graphrun
