#include "runtime/exec/planned_memory.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "runtime/base/text.h"
#include "runtime/exec/assign_memory.h"

namespace graphrun {
namespace {

using Home = ExecutionPlan::Home;

struct Life {
  int first = -1, last = -1;  // steps; -1: never written
};

bool IsShapeOnly(const ExecutionPlan& plan, const ExecutionPlan::Step& step, size_t input) {
  if (step.node == nullptr) return false;
  const auto def = plan.registry().Resolve(*step.node);
  return def.ok() && (*def)->is_shape_only(static_cast<int>(input));
}

// By buffer.
std::vector<Life> Lives(const ExecutionPlan& plan) {
  std::vector<Life> lives(plan.buffers().size());
  const auto life = [&](int slot) -> Life& {
    return lives[static_cast<size_t>(plan.slots()[static_cast<size_t>(slot)].buffer)];
  };
  const int steps = static_cast<int>(plan.steps().size());
  for (int s = 0; s < steps; ++s) {
    const ExecutionPlan::Step& step = plan.steps()[static_cast<size_t>(s)];
    for (size_t i = 0; i < step.inputs.size(); ++i)
      if (step.inputs[i] >= 0 && !IsShapeOnly(plan, step, i)) life(step.inputs[i]).last = s;
    for (const int slot : step.outputs) {
      if (slot < 0) continue;
      Life& made = life(slot);
      if (made.first < 0) made.first = s;
      made.last = std::max(made.last, s);
    }
  }
  for (const auto& copy : plan.state_copies()) life(copy.slot).last = steps - 1;
  return lives;
}

std::string TypeText(const ExecutionPlan::Slot& slot) {
  std::string text = slot.type.ToString();
  if (slot.type.is_tensor() && slot.type.tensor.shape.has_rank() && !slot.layout.is_row_major())
    absl::StrAppend(&text, "/", slot.layout.ToString(slot.type.tensor.shape.rank()));
  return text;
}

// The slot of each buffer that was written last until step `at`; -1: none.
std::vector<int> SlotsAt(const ExecutionPlan& plan, int at) {
  std::vector<int> slots(plan.buffers().size(), -1);
  for (int s = 0; s <= at; ++s) {
    for (const int slot : plan.steps()[static_cast<size_t>(s)].outputs) {
      if (slot >= 0)
        slots[static_cast<size_t>(plan.slots()[static_cast<size_t>(slot)].buffer)] = slot;
    }
  }
  return slots;
}

}  // namespace

PlannedMemory MemoryOf(const ExecutionPlan& plan) {
  PlannedMemory memory;
  memory.arena = plan.arena_bytes();
  memory.constants = plan.constant_bytes();
  for (const ExecutionPlan::State& state : plan.states())
    memory.states += state.layout.ByteSize(state.initial.dtype(), state.initial.dims());
  std::vector<bool> used(plan.buffers().size(), false);
  for (const ExecutionPlan::Slot& slot : plan.slots())
    used[static_cast<size_t>(slot.buffer)] = true;
  const std::vector<Life> lives = Lives(plan);
  const size_t steps = plan.steps().size();
  std::vector<int64_t> change(steps + 1, 0);
  const auto in_arena = [&](size_t b) {
    return plan.buffers()[b].home == Home::kArena && used[b] && lives[b].first >= 0;
  };
  for (size_t b = 0; b < plan.buffers().size(); ++b) {
    const ExecutionPlan::Buffer& buffer = plan.buffers()[b];
    if (buffer.home == Home::kOutput && used[b]) memory.outputs += buffer.bytes;
    if (!in_arena(b)) continue;
    change[static_cast<size_t>(lives[b].first)] += buffer.bytes;
    change[static_cast<size_t>(lives[b].last) + 1] -= buffer.bytes;
  }
  int64_t alive = 0;
  for (size_t s = 0; s < steps; ++s) {
    alive += change[s];
    const int64_t bytes = alive + plan.steps()[s].scratch_bytes;
    if (memory.peak_step >= 0 && bytes <= memory.peak_bytes) continue;
    memory.peak_step = static_cast<int>(s);
    memory.peak_bytes = bytes;
  }
  if (memory.peak_step < 0) return memory;
  const int peak = memory.peak_step;
  const std::vector<int> slots = SlotsAt(plan, peak);
  for (size_t b = 0; b < plan.buffers().size(); ++b) {
    if (!in_arena(b) || lives[b].first > peak || lives[b].last < peak) continue;
    const ExecutionPlan::Slot& slot = plan.slots()[static_cast<size_t>(slots[b])];
    memory.rows.push_back(
        {slot.name, TypeText(slot), plan.buffers()[b].bytes, lives[b].first, lives[b].last});
  }
  const ExecutionPlan::Step& step = plan.steps()[static_cast<size_t>(peak)];
  if (step.scratch_bytes > 0) {
    memory.rows.push_back(
        {absl::StrCat("scratch of ", step.op), "", step.scratch_bytes, peak, peak});
  }
  std::stable_sort(memory.rows.begin(), memory.rows.end(),
                   [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  return memory;
}

std::string MemoryTable(const ExecutionPlan& plan, size_t max_rows) {
  const PlannedMemory m = MemoryOf(plan);
  std::string out =
      absl::StrCat("memory: ", HumanBytes(m.total()), " planned: ", HumanBytes(m.arena), " arena, ",
                   HumanBytes(m.constants), " constants, ", HumanBytes(m.states), " states, ",
                   HumanBytes(m.outputs), " outputs\n");
  if (m.peak_step < 0 || m.rows.empty()) return out;
  const ExecutionPlan::Step& step = plan.steps()[static_cast<size_t>(m.peak_step)];
  absl::StrAppend(&out, "the arena is fullest at step ", m.peak_step, " of ", plan.steps().size(),
                  " (", step.op, " ", step.label, "): ", HumanBytes(m.peak_bytes), " in use by ",
                  m.rows.size(), m.rows.size() == 1 ? " tensor\n" : " tensors\n");
  absl::StrAppend(&out,
                  absl::StrFormat("%10s %6s  %-13s %s\n", "bytes", "share", "steps", "tensor"));
  const auto share = [&](int64_t bytes) {
    return 100 * static_cast<double>(bytes) /
           static_cast<double>(std::max<int64_t>(m.peak_bytes, 1));
  };
  int64_t rest = 0;
  for (size_t r = 0; r < m.rows.size(); ++r) {
    const PlannedMemory::Row& row = m.rows[r];
    if (r >= max_rows) {
      rest += row.bytes;
      continue;
    }
    absl::StrAppend(&out, absl::StrFormat("%10s %4.0f %%  %-13s %s%s%s\n", HumanBytes(row.bytes),
                                          share(row.bytes), absl::StrCat(row.first, "-", row.last),
                                          row.name, row.type.empty() ? "" : " ", row.type));
  }
  if (m.rows.size() > max_rows) {
    absl::StrAppend(&out,
                    absl::StrFormat("%10s %4.0f %%  %-13s %d smaller ones\n", HumanBytes(rest),
                                    share(rest), "", m.rows.size() - max_rows));
  }
  return out;
}

}  // namespace graphrun
