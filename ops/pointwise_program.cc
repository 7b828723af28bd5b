#include "ops/pointwise_program.h"

#include <algorithm>
#include <cstring>

#include "ops/lanes.h"
#include "ops/vector_math.h"
#include "runtime/base/limits.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

constexpr int64_t kRegisterFloats = 16384;  // of all registers together: 64 KB
constexpr int64_t kCacheFloats =
    4096;  // of all registers and streams of a block: half of a small L1
constexpr int64_t kLargestBlock = 1024;
constexpr int64_t kGrain = 16384;  // elements below which a second thread does not pay

void LoadBlock(DType dtype, const void* x, int64_t at, int64_t n, float* y) {
  if (dtype == DType::kFloat32) {
    std::memcpy(y, static_cast<const float*>(x) + at, static_cast<size_t>(n) * sizeof(float));
  } else if (dtype == DType::kBFloat16) {
    const auto* bits = static_cast<const uint16_t*>(x) + at;
    for (int64_t i = 0; i < n; ++i)
      y[i] = vm::FromBits(static_cast<int32_t>(static_cast<uint32_t>(bits[i]) << 16));
  } else {
    const auto* bytes = static_cast<const uint8_t*>(x) + at;
    for (int64_t i = 0; i < n; ++i) y[i] = bytes[i] != 0 ? 1.0f : 0.0f;
  }
}

float LoadOne(DType dtype, const void* x, int64_t at) {
  float v = 0;
  LoadBlock(dtype, x, at, 1, &v);
  return v;
}

void StoreBlock(DType dtype, const float* x, void* y, int64_t at, int64_t n) {
  if (dtype == DType::kFloat32) {
    std::memcpy(static_cast<float*>(y) + at, x, static_cast<size_t>(n) * sizeof(float));
  } else if (dtype == DType::kBFloat16) {
    auto* to = static_cast<BFloat16*>(y) + at;
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      FloatLanes v;
      LoadLanes(x + i, &v);
      StoreLanes(v, to + i);
    }
    for (; i < n; ++i) to[i] = BFloat16(x[i]);
  } else {
    auto* bytes = static_cast<uint8_t*>(y) + at;
    for (int64_t i = 0; i < n; ++i) bytes[i] = x[i] != 0 ? 1 : 0;
  }
}

// Elements [at, at + n) of the output's order, gathered from a broadcast input row by row.
void LoadStrided(DType dtype, const void* x, const Dims& dims, const Dims& strides, int64_t at,
                 int64_t n, float* y) {
  const size_t last = dims.size() - 1;
  int64_t index[2 * kMaxRank + 32] = {};
  int64_t offset = 0, rest = at;
  for (size_t i = dims.size(); i-- > 0;) {
    index[i] = rest % dims[i];
    rest /= dims[i];
    offset += index[i] * strides[i];
  }
  while (n > 0) {
    const int64_t run = std::min(n, dims[last] - index[last]);
    if (strides[last] == 0) {
      std::fill(y, y + run, LoadOne(dtype, x, offset));
    } else if (strides[last] == 1) {
      LoadBlock(dtype, x, offset, run, y);
    } else if (dtype == DType::kFloat32) {
      const float* from = static_cast<const float*>(x) + offset;
      for (int64_t i = 0; i < run; ++i) y[i] = from[i * strides[last]];
    } else {
      for (int64_t i = 0; i < run; ++i) y[i] = LoadOne(dtype, x, offset + i * strides[last]);
    }
    y += run;
    n -= run;
    offset += run * strides[last];
    index[last] += run;
    for (size_t i = last; i > 0 && index[i] == dims[i]; --i) {
      offset += strides[i - 1] - index[i] * strides[i];
      index[i] = 0;
      ++index[i - 1];
    }
  }
}

}  // namespace

bool IsPointwiseDType(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kBFloat16 || dtype == DType::kBool;
}

std::vector<float> PointwiseProgram::Evaluate(absl::Span<const float> inputs) const {
  std::vector<float> values(inputs.begin(), inputs.end());
  values.insert(values.end(), constants.begin(), constants.end());
  values.resize(static_cast<size_t>(num_values()));
  size_t result = static_cast<size_t>(first_result());
  for (const Step& step : steps) {
    std::vector<const float*> args;
    for (const int a : step.args) args.push_back(a < 0 ? nullptr : &values[static_cast<size_t>(a)]);
    alignas(64) float y[16];
    step.block(args.data(), static_cast<int>(args.size()), y, 1, step.params.data());
    values[result++] = y[0];
  }
  std::vector<float> results;
  for (const int o : outputs) results.push_back(values[static_cast<size_t>(o)]);
  return results;
}

PointwiseGroup MakePointwiseGroup(const Dims& dims, const Layout& layout,
                                  const std::vector<Dims>& inputs) {
  using Access = PointwiseGroup::Access;
  PointwiseGroup group;
  group.num_elements =
      layout.HasPadding(dims) ? layout.ByteSize(DType::kUInt8, dims) : Product(dims);
  bool strided = false;
  for (const Dims& in : inputs) {
    group.access.push_back(in == dims         ? Access::kFull
                           : Product(in) == 1 ? Access::kScalar
                                              : Access::kStrided);
    strided |= group.access.back() == Access::kStrided;
  }
  group.strides.resize(inputs.size());
  if (!strided) return group;
  const std::vector<Layout::SplitAxis> split = layout.Split(dims);
  std::vector<Dims> strides(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (group.access[i] != Access::kStrided) continue;
    const Dims own = RowMajorStrides(inputs[i]);
    const size_t shift = dims.size() - inputs[i].size();
    for (const Layout::SplitAxis& axis : split) {
      const auto a = static_cast<size_t>(axis.axis);
      const bool broadcast = a < shift || inputs[i][a - shift] == 1;
      strides[i].push_back(broadcast ? 0 : own[a - shift] * axis.step);
    }
  }
  for (size_t k = 0; k < split.size(); ++k) {
    const int64_t size = split[k].size;
    if (size == 1) continue;
    bool merge = !group.dims.empty();
    for (size_t i = 0; merge && i < inputs.size(); ++i) {
      merge =
          group.access[i] != Access::kStrided || group.strides[i].back() == strides[i][k] * size;
    }
    if (merge)
      group.dims.back() *= size;
    else
      group.dims.push_back(size);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (group.access[i] != Access::kStrided) continue;
      if (merge)
        group.strides[i].back() = strides[i][k];
      else
        group.strides[i].push_back(strides[i][k]);
    }
  }
  return group;
}

PointwiseExecutor::PointwiseExecutor(PointwiseProgram program, std::vector<DType> input_dtypes,
                                     std::vector<DType> output_dtypes,
                                     const std::vector<PointwiseGroup::Access>& access)
    : program_(std::move(program)),
      input_dtypes_(std::move(input_dtypes)),
      output_dtypes_(std::move(output_dtypes)),
      access_(access) {
  ChooseBlocks();
  using Access = PointwiseGroup::Access;
  const int inputs = program_.num_inputs, first = program_.first_result();
  const auto at = [](int i) { return static_cast<size_t>(i); };
  // last[v]: the step that reads v last.
  std::vector<int> last(at(program_.num_values()), -1);
  for (size_t s = 0; s < program_.steps.size(); ++s) {
    for (const int a : program_.steps[s].args) {
      if (a >= 0) last[at(a)] = static_cast<int>(s);
    }
  }
  register_of_.assign(at(program_.num_values()), -1);
  std::vector<bool> leaves(at(program_.num_values()), false);
  for (size_t o = 0; o < program_.outputs.size(); ++o) {
    const int value = program_.outputs[o];
    leaves[at(value)] = true;
    if (output_dtypes_[o] != DType::kFloat32) continue;
    for (int i = 0; i < inputs; ++i) {
      if (access_[at(i)] == Access::kFull && input_dtypes_[at(i)] == DType::kFloat32 &&
          last[at(i)] > value - first) {
        hazards_.emplace_back(static_cast<int>(o), i);
      }
    }
  }
  std::vector<int> free;
  const auto take = [&](int value) {
    if (free.empty()) free.push_back(num_registers_++);
    register_of_[at(value)] = free.back();
    free.pop_back();
  };
  // Scalars and constants keep their registers throughout, and come first.
  for (int v = 0; v < first; ++v) {
    if (IsScalar(v)) take(v);
  }
  std::vector<bool> loaded(at(inputs), false);
  for (size_t s = 0; s < program_.steps.size(); ++s) {
    const PointwiseProgram::Step& step = program_.steps[s];
    for (const int a : step.args) {
      if (a < 0 || a >= inputs || IsScalar(a) || loaded[at(a)]) continue;
      loaded[at(a)] = true;
      if (access_[at(a)] == Access::kFull && input_dtypes_[at(a)] == DType::kFloat32) continue;
      take(a);
      actions_.push_back({Action::kLoad, a});
    }
    actions_.push_back({Action::kStep, static_cast<int>(s)});
    // A result may take the register of an argument that it reads last: block functions allow that.
    for (const int a : step.args) {
      if (a < 0 || register_of_[at(a)] < 0 || last[at(a)] != static_cast<int>(s)) continue;
      if (IsScalar(a)) continue;
      if (leaves[at(a)]) continue;
      if (std::find(free.begin(), free.end(), register_of_[at(a)]) == free.end())
        free.push_back(register_of_[at(a)]);
    }
    const int result = first + static_cast<int>(s);
    // f32 outputs are written in place, unless a tensor whose memory they took is still to be read.
    bool direct = false;
    for (size_t o = 0; o < program_.outputs.size(); ++o) {
      if (program_.outputs[o] != result || output_dtypes_[o] != DType::kFloat32) continue;
      direct = true;
      for (const auto& hazard : hazards_) direct &= hazard.first != static_cast<int>(o);
    }
    if (!direct) take(result);
    if (!direct && !leaves[at(result)] && last[at(result)] < 0)
      free.push_back(register_of_[at(result)]);
  }
  fits_ = num_registers_ <= kMaxRegisters;
  // What a block reads and writes stays in the first-level cache together.
  auto streams = static_cast<int64_t>(num_registers_ + static_cast<int>(program_.outputs.size()));
  for (const Access a : access_) streams += a == Access::kFull ? 1 : 0;
  for (int v = 0; v < first; ++v) streams -= IsScalar(v) && !spread_[at(v)] ? 1 : 0;
  block_ = std::min({kLargestBlock,
                     std::max<int64_t>(kCacheFloats / std::max<int64_t>(streams, 1) / 64 * 64, 128),
                     kRegisterFloats / std::max(num_registers_, 1) / 64 * 64});
}

// Functions that read a number instead of a block of equal numbers, where there are.
void PointwiseExecutor::ChooseBlocks() {
  spread_.assign(static_cast<size_t>(program_.num_values()), false);
  for (const PointwiseProgram::Step& step : program_.steps) {
    unsigned mask = 0;
    for (size_t k = 0; k < step.args.size() && k < 32; ++k) {
      if (step.args[k] >= 0 && IsScalar(step.args[k])) mask |= 1u << k;
    }
    Pointwise::Block block = nullptr;
    for (const auto& [scalars, function] : step.scalar_blocks) {
      if (scalars == mask) block = function;
    }
    blocks_.push_back(block != nullptr ? block : step.block);
    for (const int a : step.args) {
      if (a >= 0 && IsScalar(a) && block == nullptr) spread_[static_cast<size_t>(a)] = true;
    }
  }
}

void PointwiseExecutor::RunBlocks(const PointwiseGroup& group, const void* const* inputs,
                                  void* const* outputs, int64_t begin, int64_t end,
                                  bool constants_ready, float* registers) const {
  using Access = PointwiseGroup::Access;
  const int num_inputs = program_.num_inputs, first = program_.first_result();
  const auto reg = [&](int v) { return registers + register_of_[static_cast<size_t>(v)] * block_; };
  for (int v = 0; v < first; ++v) {
    if (!IsScalar(v) || (v >= num_inputs && constants_ready)) continue;
    const auto i = static_cast<size_t>(v);
    const float x = v < num_inputs ? LoadOne(input_dtypes_[i], inputs[v], 0)
                                   : program_.constants[i - static_cast<size_t>(num_inputs)];
    // Constants stay for the groups to come, which may be larger.
    const int64_t width = v < num_inputs ? std::min(block_, group.num_elements) : block_;
    std::fill(reg(v), reg(v) + (spread_[i] ? width : 1), x);
  }
  // Where each value of this block is.
  constexpr int kFew = 64;
  float* few[kFew];
  std::vector<float*> many;
  float** where = few;
  if (program_.num_values() > kFew) {
    many.resize(static_cast<size_t>(program_.num_values()));
    where = many.data();
  }
  const float* few_args[16];
  std::vector<const float*> many_args;
  uint64_t staged = 0;  // outputs that wait in a register until the block's inputs are read
  for (const auto& [o, i] : hazards_) {
    if (outputs[o] == inputs[i]) staged |= uint64_t{1} << (o & 63);
  }
  for (int v = 0; v < program_.num_values(); ++v)
    where[v] = register_of_[static_cast<size_t>(v)] < 0 ? nullptr : reg(v);
  for (int64_t b = begin; b < end; ++b) {
    const int64_t at = b * block_, n = std::min(block_, group.num_elements - at);
    for (int i = 0; i < num_inputs; ++i) {
      if (register_of_[static_cast<size_t>(i)] < 0) {
        where[i] = const_cast<float*>(static_cast<const float*>(inputs[i])) + at;  // only read
      }
    }
    for (size_t o = 0; o < program_.outputs.size(); ++o) {
      const int v = program_.outputs[o];
      const bool in_register = register_of_[static_cast<size_t>(v)] >= 0;
      const bool wait = output_dtypes_[o] != DType::kFloat32 || ((staged >> (o & 63)) & 1);
      where[v] = in_register && wait ? reg(v) : static_cast<float*>(outputs[o]) + at;
    }
    for (const Action& action : actions_) {
      if (action.kind == Action::kLoad) {
        const auto i = static_cast<size_t>(action.index);
        if (access_[i] == Access::kFull) {
          LoadBlock(input_dtypes_[i], inputs[i], at, n, where[i]);
        } else {
          LoadStrided(input_dtypes_[i], inputs[i], group.dims, group.strides[i], at, n, where[i]);
        }
        continue;
      }
      const PointwiseProgram::Step& step = program_.steps[static_cast<size_t>(action.index)];
      const float** args = few_args;
      if (step.args.size() > 16) {
        many_args.resize(step.args.size());
        args = many_args.data();
      }
      for (size_t k = 0; k < step.args.size(); ++k)
        args[k] = step.args[k] < 0 ? nullptr : where[step.args[k]];
      blocks_[static_cast<size_t>(action.index)](args, static_cast<int>(step.args.size()),
                                                 where[first + action.index], n,
                                                 step.params.data());
    }
    for (size_t o = 0; o < program_.outputs.size(); ++o) {
      const float* x = where[program_.outputs[o]];
      if (output_dtypes_[o] != DType::kFloat32 || x != static_cast<float*>(outputs[o]) + at) {
        StoreBlock(output_dtypes_[o], x, outputs[o], at, n);
      }
    }
  }
}

void PointwiseExecutor::Run(absl::Span<const PointwiseGroup> groups,
                            absl::Span<const void* const> inputs,
                            absl::Span<void* const> outputs) const {
  const size_t num_inputs = static_cast<size_t>(program_.num_inputs),
               num_outputs = program_.outputs.size();
  int64_t blocks = 0;
  for (const PointwiseGroup& g : groups) blocks += (g.num_elements + block_ - 1) / block_;
  ParallelFor(blocks, std::max<int64_t>(kGrain / block_, 1), [&](int64_t begin, int64_t end) {
    alignas(64) float registers[kRegisterFloats];
    bool ready = false;
    int64_t start = 0;
    for (size_t g = 0; g < groups.size() && start < end; ++g) {
      const int64_t count = (groups[g].num_elements + block_ - 1) / block_;
      const int64_t from = std::max(begin - start, int64_t{0}), to = std::min(end - start, count);
      start += count;
      if (from >= to) continue;
      RunBlocks(groups[g], inputs.data() + g * num_inputs, outputs.data() + g * num_outputs, from,
                to, ready, registers);
      ready = true;
    }
  });
}

}  // namespace graphrun
