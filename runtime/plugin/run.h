// gr_run: the tensors of one run of a plugin's kernel, and the watch over them.
#pragma once

#include <string>
#include <vector>

#include "plugins/graphrun_plugin.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// Memory with known bytes before and behind it.
class GuardedBytes {
 public:
  // Errors: kLimit.
  static absl::StatusOr<GuardedBytes> Allocate(int64_t size);
  void* data() const { return static_cast<char*>(block_.raw() == nullptr ? nullptr : At(kZone)); }
  // "" where the zones are as they were; else which one is not.
  absl::string_view Damage() const;

 private:
  static constexpr int64_t kZone = 1024;
  void* At(int64_t offset) const {
    return const_cast<char*>(static_cast<const char*>(block_.raw())) + offset;
  }
  Tensor block_;
  int64_t size_ = 0;
};

// What is known of an output when its kernel was prepared.
struct ExpectedOutput {
  DType dtype = DType::kUndefined;  // undefined: left out
  Shape shape;
};

}  // namespace graphrun

struct gr_run {
  gr_run(graphrun::RunContext& c, const std::vector<graphrun::ExpectedOutput>& expected)
      : context(c), expected(expected) {}

  graphrun::RunContext& context;
  const std::vector<graphrun::ExpectedOutput>& expected;
  std::vector<gr_tensor> inputs, outputs;  // outputs of which the sizes are not known: no data yet
  std::vector<bool> resized;
  void* scratch = nullptr;

  // Guarded runs only.
  bool guard = false;
  std::vector<graphrun::GuardedBytes> guarded;
  std::vector<graphrun::Tensor> saved;  // the inputs' elements before
  graphrun::GuardedBytes guarded_scratch;
  std::vector<graphrun::Tensor> results;  // of resized outputs

  absl::Status Begin(int64_t scratch_bytes);
  absl::Status Resize(int32_t i, int32_t rank, const int64_t* dims);
  // Looks for damage, and gives guarded outputs to whom they belong.
  absl::Status End();
};
