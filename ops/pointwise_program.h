// PointwiseProgram: elementwise operators as a list of steps over cache-sized blocks.
//
// One loop over blocks of elements runs all steps on a block before the next block is touched, so
// that intermediate results stay in the first-level cache. Values are f32 in registers (a register
// holds one block); f32, bf16 and bool in memory. A program runs on any number of groups of tensors
// at once, each with sizes of its own.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "runtime/base/dtype.h"
#include "runtime/base/shape.h"
#include "runtime/op/layout.h"
#include "runtime/op/op_def.h"

namespace graphrun {

// Values are numbered: inputs first, then constants, then the result of each step.
struct PointwiseProgram {
  struct Step {
    Pointwise::Block block = nullptr;
    // Block functions for inputs of which some point to a single element for all i: bit k of the
    // first number says that input k does.
    std::vector<std::pair<unsigned, Pointwise::Block>> scalar_blocks;
    std::vector<float> params;
    std::vector<int> args;  // values; -1: left out
  };
  int num_inputs = 0;
  std::vector<float> constants;
  std::vector<Step> steps;
  std::vector<int> outputs;  // values that leave the program: results of steps

  int num_values() const { return num_inputs + static_cast<int>(constants.size() + steps.size()); }
  int first_result() const { return num_inputs + static_cast<int>(constants.size()); }
  // The outputs for one element whose inputs have these values.
  std::vector<float> Evaluate(absl::Span<const float> inputs) const;
};

// True for the element types that programs read and write.
bool IsPointwiseDType(DType dtype);

// How one group's tensors lie in memory.
struct PointwiseGroup {
  // How an input's elements correspond to the output's.
  enum class Access {
    kFull,     // one for one, in the same order
    kScalar,   // one element for all
    kStrided,  // by strides over `dims`; 0 where it is broadcast
  };
  int64_t num_elements = 0;
  Dims dims;  // the output's axes in memory order, merged; used by kStrided inputs
  std::vector<Access> access;
  std::vector<Dims> strides;  // of each kStrided input over `dims`
};

// A group whose output has sizes `dims` in `layout`; inputs of those sizes lie in the same layout,
// others row-major. REQUIRES: inputs broadcast to `dims`; `layout` without padding unless all
// inputs are of those sizes or have one element (the padding is computed like elements then).
PointwiseGroup MakePointwiseGroup(const Dims& dims, const Layout& layout,
                                  const std::vector<Dims>& inputs);

// A program with its registers assigned. REQUIRES: every group that it runs on has `access` as
// given here.
class PointwiseExecutor {
 public:
  PointwiseExecutor(PointwiseProgram program, std::vector<DType> input_dtypes,
                    std::vector<DType> output_dtypes,
                    const std::vector<PointwiseGroup::Access>& access);

  // False where the program needs more registers than there are.
  bool fits() const { return fits_; }
  static constexpr int kMaxRegisters = 128;

  // Runs groups g on inputs[g * num_inputs + i] and outputs[g * num_outputs + o]. An output may be
  // an input's memory where that input is kFull and of the same element type.
  void Run(absl::Span<const PointwiseGroup> groups, absl::Span<const void* const> inputs,
           absl::Span<void* const> outputs) const;

 private:
  // What happens on a block, in order.
  struct Action {
    enum Kind { kLoad, kStep } kind;
    int index;  // input or step
  };
  struct Ranges;
  void RunBlocks(const PointwiseGroup& group, const void* const* inputs, void* const* outputs,
                 int64_t begin, int64_t end, bool constants_ready, float* registers) const;

  // Whether value v is one number for the whole group.
  bool IsScalar(int v) const {
    return v < program_.first_result() &&
           (v >= program_.num_inputs ||
            access_[static_cast<size_t>(v)] == PointwiseGroup::Access::kScalar);
  }
  void ChooseBlocks();

  PointwiseProgram program_;
  std::vector<Pointwise::Block> blocks_;  // per step
  std::vector<bool> spread_;              // per value: a scalar that fills its register
  std::vector<DType> input_dtypes_, output_dtypes_;
  std::vector<PointwiseGroup::Access> access_;
  std::vector<Action> actions_;
  std::vector<int> register_of_;  // per value; -1: its memory serves
  std::vector<std::pair<int, int>>
      hazards_;  // (output, input): written before that input's last use
  int num_registers_ = 0;
  int64_t block_ = 0;  // elements
  bool fits_ = false;
};

}  // namespace graphrun
