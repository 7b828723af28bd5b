#include "ops/value_trace.h"

#include <algorithm>

#include "ops/post_op.h"

namespace graphrun {
namespace {

absl::optional<std::vector<int64_t>> IntsOf(const Node& node, int input) {
  if (!node.has_input(input) || !node.input(input)->is_constant()) return absl::nullopt;
  const Tensor& t = node.input(input)->initializer();
  if (t.dtype() != DType::kInt64) return absl::nullopt;
  return std::vector<int64_t>(t.span<int64_t>().begin(), t.span<int64_t>().end());
}

// The same elements under other sizes; false where steps of equal length do not reach them.
bool Reshaped(Trace* t, const Dims& to) {
  Dims strides(to.size(), 0);
  size_t from = 0, out = 0;
  while (out < to.size() || from < t->dims.size()) {
    // The shortest runs of axes of both that hold equally many elements.
    const size_t first_from = from, first_out = out;
    int64_t left = from < t->dims.size() ? t->dims[from++] : 1;
    int64_t right = out < to.size() ? to[out++] : 1;
    while (left != right) {
      if (left < right) {
        if (from == t->dims.size()) return false;
        left *= t->dims[from++];
      } else {
        if (out == to.size()) return false;
        right *= to[out++];
      }
    }
    int64_t step = 0, reach = 0;  // of the innermost axis of the run that is longer than 1
    for (size_t i = from; i-- > first_from;) {
      if (t->dims[i] == 1) continue;
      if (reach != 0 && t->strides[i] != reach) return false;
      if (reach == 0) step = t->strides[i];
      reach = t->strides[i] * t->dims[i];
    }
    for (size_t i = out; i-- > first_out;) {
      strides[i] = step;
      step *= to[i];
    }
  }
  t->dims = to;
  t->strides = std::move(strides);
  return true;
}

// The permutation of a Transpose; nothing where it is not spelt out.
const std::vector<int64_t>* PermOf(const Node& node) {
  const Attr* perm = node.attr("perm");
  return perm == nullptr ? nullptr : perm->get<std::vector<int64_t>>();
}

// The axis of a row-major tensor of sizes `dims` that a walk of `size` steps of `stride` stays in;
// -1: none.
int AxisOfWalk(const Dims& dims, int64_t stride, int64_t size) {
  const Dims steps = RowMajorStrides(dims);
  for (size_t a = 0; a < dims.size(); ++a) {
    if (dims[a] > 1 && steps[a] <= stride) {
      return stride % steps[a] == 0 && (size - 1) * (stride / steps[a]) < dims[a]
                 ? static_cast<int>(a)
                 : -1;
    }
  }
  return -1;
}

// Where t's elements go when its base is moved so that axis a of it becomes axis to[a] of a
// row-major tensor of sizes `dims`, `shift` along `shifted`; false: no steps of equal length.
bool Moved(Trace* t, const Dims& from, const Dims& dims, const std::vector<size_t>& to,
           size_t shifted, int64_t shift) {
  const Dims old = RowMajorStrides(from), fresh = RowMajorStrides(dims);
  Dims last(from.size());  // the largest index of each axis that is reached
  int64_t offset = shift * fresh[shifted], left = t->offset;
  for (size_t a = 0; a < from.size(); ++a) {
    last[a] = left / old[a];
    left %= old[a];
    offset += last[a] * fresh[to[a]];
  }
  for (size_t i = 0; i < t->dims.size(); ++i) {
    if (t->dims[i] == 1) {
      t->strides[i] = 0;
      continue;
    }
    const int axis = AxisOfWalk(from, t->strides[i], t->dims[i]);
    if (axis < 0) return false;
    const auto a = static_cast<size_t>(axis);
    const int64_t step = t->strides[i] / old[a];
    last[a] += step * (t->dims[i] - 1);
    if (last[a] >= from[a]) return false;
    t->strides[i] = step * fresh[to[a]];
  }
  t->offset = offset;
  return true;
}

}  // namespace

Trace Whole(Value* v) {
  Trace t;
  t.base = v;
  t.dims = v->shape().ToDims();
  t.strides = RowMajorStrides(t.dims);
  return t;
}

Trace TraceOf(Value* v, int depth) {
  const Node* node = v->producer();
  if (node == nullptr || depth > 16 || !node->domain().empty() || !node->has_input(0) ||
      !node->input(0)->shape().is_concrete() || !v->shape().is_concrete()) {
    return Whole(v);
  }
  const std::string& op = node->op_type();
  if (op == "Transpose") {
    Trace t = TraceOf(node->input(0), depth + 1);
    const Attr* perm = node->attr("perm");
    if (perm == nullptr || perm->get<std::vector<int64_t>>() == nullptr) return Whole(v);
    Trace out = t;
    for (size_t i = 0; i < t.dims.size(); ++i) {
      const auto from = static_cast<size_t>((*perm->get<std::vector<int64_t>>())[i]);
      out.dims[i] = t.dims[from], out.strides[i] = t.strides[from];
    }
    return out;
  }
  if (op == "Reshape" || op == "Squeeze" || op == "Unsqueeze" || op == "Flatten" ||
      op == "Identity") {
    Trace t = TraceOf(node->input(0), depth + 1);
    return Reshaped(&t, v->shape().ToDims()) ? t : Whole(v);
  }
  if (op == "Split") {
    Trace t = TraceOf(node->input(0), depth + 1);
    int64_t axis = static_cast<int64_t>(NumberAttr(*node, "axis", 0));
    if (axis < 0) axis += static_cast<int64_t>(t.dims.size());
    const auto a = static_cast<size_t>(axis);
    int64_t start = 0;
    for (int o = 0; o < node->num_outputs() && node->output(o) != v; ++o) {
      if (!node->has_output(o)) return Whole(v);
      start += node->output(o)->shape().ToDims()[a];
    }
    t.offset += start * t.strides[a];
    t.dims = v->shape().ToDims();
    return t;
  }
  if (op == "Gather" && node->has_input(1)) {
    const auto index = IntsOf(*node, 1);
    if (!index || index->size() != 1 || node->input(1)->shape().rank() != 0) return Whole(v);
    Trace t = TraceOf(node->input(0), depth + 1);
    int64_t axis = static_cast<int64_t>(NumberAttr(*node, "axis", 0));
    if (axis < 0) axis += static_cast<int64_t>(t.dims.size());
    const int64_t size = t.dims[static_cast<size_t>(axis)];
    const int64_t i = (*index)[0] < 0 ? (*index)[0] + size : (*index)[0];
    if (i < 0 || i >= size) return Whole(v);
    t.offset += i * t.strides[static_cast<size_t>(axis)];
    t.dims.erase(t.dims.begin() + axis);
    t.strides.erase(t.strides.begin() + axis);
    return t;
  }
  if (op == "Slice" && node->num_inputs() >= 3) {
    const auto starts = IntsOf(*node, 1), axes = IntsOf(*node, 3), steps = IntsOf(*node, 4);
    if (!starts || (node->has_input(3) && !axes) || (node->has_input(4) && !steps)) return Whole(v);
    Trace t = TraceOf(node->input(0), depth + 1);
    for (size_t i = 0; i < starts->size(); ++i) {
      int64_t axis = axes ? (*axes)[i] : static_cast<int64_t>(i);
      if (axis < 0) axis += static_cast<int64_t>(t.dims.size());
      if (steps && (*steps)[i] != 1) return Whole(v);
      const auto a = static_cast<size_t>(axis);
      int64_t start = (*starts)[i] < 0 ? (*starts)[i] + t.dims[a] : (*starts)[i];
      start = std::min(std::max<int64_t>(start, 0), t.dims[a]);
      t.offset += start * t.strides[a];
    }
    t.dims = v->shape().ToDims();
    return t;
  }
  return Whole(v);
}

absl::optional<ViewAttentionCase::View> ViewOf(const Trace& t, bool transposed) {
  if (t.dims.size() != 4 && t.dims.size() != 3) return absl::nullopt;
  const size_t last = t.dims.size() - 1, column = transposed ? last - 1 : last;
  if (t.strides[column] != 1 && t.dims[column] != 1) return absl::nullopt;
  ViewAttentionCase::View view;
  view.offset = t.offset;
  view.row = t.strides[transposed ? last : last - 1];
  view.head = t.dims.size() == 4 ? t.strides[1] : 0;
  view.batch = t.strides[0];
  return view;
}

std::vector<Trace> Destinations(const Graph& graph, Value* v) {
  std::vector<Trace> found = {Whole(v)};
  for (Node* node = SoleUser(graph, v); node != nullptr; node = SoleUser(graph, v)) {
    if (!node->domain().empty() || node->num_outputs() != 1 || !node->has_output(0)) break;
    Value* out = node->output(0);
    if (!out->shape().is_concrete() || Product(out->shape().ToDims()) == 0) break;
    const std::string& op = node->op_type();
    const Dims from = v->shape().ToDims(), dims = out->shape().ToDims();
    Trace t = found.back();
    t.base = out;
    std::vector<size_t> to(from.size());
    if (op == "Transpose") {
      const std::vector<int64_t>* perm = PermOf(*node);
      if (perm == nullptr) break;
      for (size_t i = 0; i < perm->size(); ++i) to[static_cast<size_t>((*perm)[i])] = i;
      if (to.empty() || !Moved(&t, from, dims, to, 0, 0)) break;
    } else if (op == "Concat") {
      int64_t axis = static_cast<int64_t>(NumberAttr(*node, "axis", 0));
      if (axis < 0) axis += static_cast<int64_t>(from.size());
      int64_t before = 0;
      for (int i = 0; i < node->num_inputs() && node->input(i) != v; ++i) {
        if (!node->input(i)->shape().is_concrete()) return found;
        before += node->input(i)->shape().ToDims()[static_cast<size_t>(axis)];
      }
      for (size_t a = 0; a < to.size(); ++a) to[a] = a;
      if (!Moved(&t, from, dims, to, static_cast<size_t>(axis), before)) break;
    } else if (!(op == "Reshape" || op == "Squeeze" || op == "Unsqueeze" || op == "Flatten" ||
                 op == "Identity") ||
               node->input(0) != v) {
      break;
    }
    found.push_back(std::move(t));
    v = out;
  }
  return found;
}

}  // namespace graphrun
