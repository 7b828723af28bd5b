// Mixed precision: an f32 model computed in bf16 where that gains and does no harm.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/cpu.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// What mixed precision does with an operator's f32 tensors.
enum class MixedPrecision {
  kFull,     // leaves them as they are
  kCompute,  // makes them bf16: that is where it gains (products, convolutions)
  kFollow,   // makes them bf16 where one arrives so and where something reads the result so
  kReduce,   // makes them bf16 where one arrives so: it writes much less than it reads
};

// What operator families say of their operators. Unless they say something, elementwise operators
// that have a block function, and views, follow, and all others stay f32.
class MixedPolicy {
 public:
  // Inputs of `full_inputs` stay f32 in any case (statistics, parameters of normalisations,
  // biases).
  MixedPolicy& Set(std::string op_type, MixedPrecision how, std::vector<int> full_inputs = {},
                   std::string domain = "");
  // Input `input` gives nothing but its sizes: it keeps the element type that it has.
  MixedPolicy& SizesOnly(std::string op_type, int input, std::string domain = "");
  // Nodes that `serves` does not accept are left as they are.
  MixedPolicy& Where(std::string op_type, std::function<bool(const Node&, const OpDef&)> serves,
                     std::string domain = "");
  MixedPrecision Of(const OpDef& def) const;
  bool Serves(const Node& node, const OpDef& def) const;
  // True for an input that a bf16 node takes in bf16 (one whose element type varies).
  bool Shrinks(const OpDef& def, int input) const;
  bool IsSizesOnly(const OpDef& def, int input) const;

 private:
  struct Rule {
    MixedPrecision how = MixedPrecision::kFull;
    std::vector<int> full_inputs;
    int sizes_input = -1;
    std::function<bool(const Node&, const OpDef&)> serves;
  };
  std::map<std::pair<std::string, std::string>, Rule> rules_;  // by domain and name
};

// The pass. By the policy f32 nodes become bf16 ones: those that gain (kCompute), and what lies
// between them (kFollow). Cast nodes stand on the borders; a constant is rounded at once. Graph
// inputs and outputs, states and their successors stay f32, and so does every node that only f32
// nodes read: losses, statistics, updates. Values that were bf16 before are left alone. A state
// that is read in bf16 gets a second state, its rounded copy, which the update writes beside it
// (CopiedStates). REQUIRES: types inferred.
absl::StatusOr<bool> MixPrecision(Graph& graph, const OpRegistry& registry,
                                  const MixedPolicy& policy);

// The states that are rounded copies, and of which state: what MixPrecision noted in the graph.
std::map<std::string, std::string> CopiedStates(const Graph& graph);

// The element type that "f32" and "bf16" (also "float32", "bfloat16") ask for. Any other name is an
// error of kind kUsage.
absl::StatusOr<DType> PrecisionFromName(absl::string_view name);
std::string PrecisionName(DType precision);  // "f32", "bf16"

// Refuses bf16 where the processor has no instructions for it (AVX-512 BF16, which every processor
// with AMX has as well): it would be slower than f32 there.
absl::Status CheckPrecision(DType precision,
                            const std::vector<CpuFeature>& features = CpuFeatures());

}  // namespace graphrun
