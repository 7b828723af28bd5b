#include "runtime/exec/assign_memory.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"

namespace graphrun {

using Home = ExecutionPlan::Home;
using Slot = ExecutionPlan::Slot;
using Step = ExecutionPlan::Step;

int64_t SlotBytes(const Slot& slot) {
  if (!slot.type.is_tensor() || !slot.type.tensor.shape.is_concrete()) return 0;
  return slot.layout.ByteSize(slot.type.tensor.dtype, slot.type.tensor.shape.ToDims());
}

class MemoryAssigner {
 public:
  MemoryAssigner(ExecutionPlan* plan, const std::vector<std::vector<std::pair<int, int>>>& in_place,
                 const std::vector<std::vector<int>>& shape_only)
      : plan_(*plan), in_place_(in_place), shape_only_(shape_only) {}

  void Run() {
    ShareMemory();
    PlaceBuffers();
  }

 private:
  ExecutionPlan::Buffer& BufferOf(int slot) {
    return plan_.buffers_[static_cast<size_t>(plan_.slots_[static_cast<size_t>(slot)].buffer)];
  }

  void MoveToBuffer(int from_buffer, int to_buffer) {
    for (const int slot : slots_in_[static_cast<size_t>(from_buffer)]) {
      plan_.slots_[static_cast<size_t>(slot)].buffer = to_buffer;
      slots_in_[static_cast<size_t>(to_buffer)].push_back(slot);
    }
    slots_in_[static_cast<size_t>(from_buffer)].clear();
    auto& last = last_read_[static_cast<size_t>(to_buffer)];
    last = std::max(last, last_read_[static_cast<size_t>(from_buffer)]);
  }

  // Whether input i of step s is the only reason why its buffer lives beyond the step's start.
  bool LastReader(size_t s, int input) const {
    const Step& step = plan_.steps_[s];
    const int slot = step.inputs[static_cast<size_t>(input)];
    if (slot < 0) return false;
    const int buffer = plan_.slots_[static_cast<size_t>(slot)].buffer;
    if (last_read_[static_cast<size_t>(buffer)] > static_cast<int>(s)) return false;
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      const int other = step.inputs[i];
      if (static_cast<int>(i) == input || other < 0 || IsShapeOnly(s, static_cast<int>(i)))
        continue;
      if (plan_.slots_[static_cast<size_t>(other)].buffer == buffer) return false;
    }
    return true;
  }

  bool IsShapeOnly(size_t s, int input) const {
    return std::find(shape_only_[s].begin(), shape_only_[s].end(), input) != shape_only_[s].end();
  }

  void ShareMemory() {
    const size_t n = plan_.steps_.size();
    last_read_.assign(plan_.buffers_.size(), -1);
    writer_.assign(plan_.buffers_.size(), -1);
    slots_in_.assign(plan_.buffers_.size(), {});
    const auto buffer = [&](int slot) {
      return static_cast<size_t>(plan_.slots_[static_cast<size_t>(slot)].buffer);
    };
    for (size_t s = 0; s < plan_.slots_.size(); ++s) {
      slots_in_[static_cast<size_t>(plan_.slots_[s].buffer)].push_back(static_cast<int>(s));
      auto& b = plan_.buffers_[static_cast<size_t>(plan_.slots_[s].buffer)];
      b.bytes = std::max(b.bytes, SlotBytes(plan_.slots_[s]));
    }
    for (size_t s = 0; s < n; ++s) {
      const Step& step = plan_.steps_[s];
      for (size_t i = 0; i < step.inputs.size(); ++i) {
        if (step.inputs[i] >= 0 && !IsShapeOnly(s, static_cast<int>(i))) {
          last_read_[buffer(step.inputs[i])] = static_cast<int>(s);
        }
      }
      for (const int slot : step.outputs) {
        if (slot >= 0) writer_[buffer(slot)] = static_cast<int>(s);
      }
    }
    const int end = static_cast<int>(n);
    for (const int slot : plan_.output_slots_) last_read_[buffer(slot)] = end;
    for (const auto& copy : plan_.state_copies_) {
      if (BufferOf(copy.slot).home != Home::kArena) last_read_[buffer(copy.slot)] = end;
    }
    ShareWithStates();
    for (const auto& copy : plan_.state_copies_) last_read_[buffer(copy.slot)] = end;
    for (size_t s = 0; s < n; ++s) {
      for (const auto& [input, output] : in_place_[s]) ShareInPlace(s, input, output);
    }
  }

  // A state's successor is written straight into the state where nobody reads the old value
  // afterwards.
  void ShareWithStates() {
    std::vector<ExecutionPlan::StateCopy> kept;
    for (const auto& copy : plan_.state_copies_) {
      const ExecutionPlan::State& state = plan_.states_[static_cast<size_t>(copy.state)];
      const int own = plan_.slots_[static_cast<size_t>(state.slot)].buffer;
      const int made = plan_.slots_[static_cast<size_t>(copy.slot)].buffer;
      const int writer = writer_[static_cast<size_t>(made)];
      bool share = plan_.buffers_[static_cast<size_t>(made)].home == Home::kArena && writer >= 0 &&
                   last_read_[static_cast<size_t>(own)] <= writer &&
                   plan_.slots_[static_cast<size_t>(copy.slot)].layout == state.layout;
      if (share && last_read_[static_cast<size_t>(own)] == writer)
        share = MayWriteOver(writer, own, made);
      if (!share) {
        kept.push_back(copy);
        continue;
      }
      MoveToBuffer(made, own);
    }
    plan_.state_copies_ = std::move(kept);
  }

  // Whether step `writer` may make `made` in the memory of `own` that it reads.
  bool MayWriteOver(int writer, int own, int made) const {
    const auto s = static_cast<size_t>(writer);
    const Step& step = plan_.steps_[s];
    bool allowed = false;
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      if (step.inputs[i] < 0 || plan_.slots_[static_cast<size_t>(step.inputs[i])].buffer != own)
        continue;
      bool here = IsShapeOnly(s, static_cast<int>(i));
      for (const auto& [input, output] : in_place_[s]) {
        const int out = step.outputs[static_cast<size_t>(output)];
        here |= input == static_cast<int>(i) && out >= 0 &&
                plan_.slots_[static_cast<size_t>(out)].buffer == made;
      }
      if (!here) return false;
      allowed = true;
    }
    return allowed;
  }

  void ShareInPlace(size_t s, int input, int output) {
    const Step& step = plan_.steps_[s];
    if (static_cast<size_t>(input) >= step.inputs.size() ||
        static_cast<size_t>(output) >= step.outputs.size())
      return;
    const int from = step.inputs[static_cast<size_t>(input)],
              to = step.outputs[static_cast<size_t>(output)];
    if (from < 0 || to < 0) return;
    const Slot &source = plan_.slots_[static_cast<size_t>(from)],
               &made = plan_.slots_[static_cast<size_t>(to)];
    const auto& source_buffer = plan_.buffers_[static_cast<size_t>(source.buffer)];
    const auto& made_buffer = plan_.buffers_[static_cast<size_t>(made.buffer)];
    const bool homes = source_buffer.home == Home::kArena &&
                       (made_buffer.home == Home::kArena || made_buffer.home == Home::kOutput);
    if (!homes || source.buffer == made.buffer || SlotBytes(source) != SlotBytes(made) ||
        source.type.tensor.dtype != made.type.tensor.dtype || source.layout != made.layout ||
        source_buffer.bytes < made_buffer.bytes || !LastReader(s, input)) {
      return;
    }
    const int source_id = source.buffer, made_id = made.buffer;
    // An output that has found its place already (another pair of the same step) stays there.
    if (writer_[static_cast<size_t>(made_id)] != static_cast<int>(s) ||
        first_write_.contains(made_id))
      return;
    const int first_writer = writer_[static_cast<size_t>(source_id)];
    if (made_buffer.home == Home::kOutput) {
      plan_.buffers_[static_cast<size_t>(source_id)].home = Home::kOutput;
      plan_.buffers_[static_cast<size_t>(source_id)].index = made_buffer.index;
    }
    MoveToBuffer(made_id, source_id);
    first_write_.emplace(source_id, first_writer);
    writer_[static_cast<size_t>(source_id)] = static_cast<int>(s);
  }

  void PlaceBuffers() {
    std::vector<MemoryRequest> requests;
    std::vector<size_t> owners;
    for (size_t b = 0; b < plan_.buffers_.size(); ++b) {
      const auto& buffer = plan_.buffers_[b];
      if (buffer.home != Home::kArena || slots_in_[b].empty()) continue;
      const auto it = first_write_.find(static_cast<int>(b));
      const int first = it == first_write_.end() ? writer_[b] : it->second;
      requests.push_back(
          {buffer.bytes, std::max(first, 0), std::max({last_read_[b], writer_[b], first})});
      owners.push_back(b);
    }
    const size_t values = requests.size();
    for (size_t s = 0; s < plan_.steps_.size(); ++s) {
      requests.push_back({plan_.steps_[s].scratch_bytes, static_cast<int>(s), static_cast<int>(s)});
    }
    const MemoryPlan memory = PlanMemory(requests);
    for (size_t i = 0; i < values; ++i) plan_.buffers_[owners[i]].offset = memory.offsets[i];
    for (size_t s = 0; s < plan_.steps_.size(); ++s)
      plan_.steps_[s].scratch_offset = memory.offsets[values + s];
    plan_.arena_bytes_ = memory.bytes;
  }

  ExecutionPlan& plan_;
  const std::vector<std::vector<std::pair<int, int>>>& in_place_;
  const std::vector<std::vector<int>>& shape_only_;
  std::vector<int> last_read_, writer_;        // by buffer: steps
  std::vector<std::vector<int>> slots_in_;     // by buffer
  absl::flat_hash_map<int, int> first_write_;  // of buffers shared in place
};

void AssignMemory(ExecutionPlan* plan,
                  const std::vector<std::vector<std::pair<int, int>>>& in_place,
                  const std::vector<std::vector<int>>& shape_only) {
  MemoryAssigner(plan, in_place, shape_only).Run();
}

}  // namespace graphrun
