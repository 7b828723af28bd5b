#include "runtime/op/layout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"

namespace graphrun {

Layout Layout::Undecided() {
  Layout l;
  l.kind_ = Kind::kUndecided;
  return l;
}

Layout Layout::Blocked(absl::Span<const int64_t> dims, Dims strides, Dims padded,
                       std::vector<std::pair<int, int64_t>> blocks) {
  Layout l;
  if (blocks.empty() && std::equal(dims.begin(), dims.end(), padded.begin(), padded.end())) {
    const Dims plain = RowMajorStrides(dims);
    bool same = true;
    for (size_t i = 0; i < dims.size(); ++i) same &= dims[i] <= 1 || strides[i] == plain[i];
    if (same) return l;
    // The stride of an axis of size 1 has no meaning: give it the one it has in a dense tensor of
    // this axis order.
    for (size_t i = 0; i < dims.size(); ++i) {
      if (dims[i] == 1) strides[i] = 0;
    }
  }
  l.kind_ = Kind::kBlocked;
  l.strides_ = std::move(strides);
  l.padded_ = std::move(padded);
  l.blocks_ = std::move(blocks);
  return l;
}

Layout Layout::Permuted(absl::Span<const int64_t> dims, absl::Span<const int> order) {
  Dims strides(dims.size());
  int64_t stride = 1;
  for (size_t i = order.size(); i-- > 0;) {
    const auto axis = static_cast<size_t>(order[i]);
    strides[axis] = stride;
    stride *= dims[axis];
  }
  return Blocked(dims, std::move(strides), Dims(dims.begin(), dims.end()), {});
}

Layout Layout::Opaque(std::string descriptor, int64_t bytes) {
  Layout l;
  l.kind_ = Kind::kOpaque;
  l.descriptor_ = std::move(descriptor);
  l.bytes_ = bytes;
  return l;
}

int64_t Layout::ByteSize(DType dtype, absl::Span<const int64_t> dims) const {
  if (is_opaque()) return bytes_;
  if (!is_blocked()) return Product(dims) * DTypeSize(dtype);
  int64_t block = 1;
  Dims per_axis(dims.size(), 1);
  for (const auto& [axis, size] : blocks_) {
    block *= size;
    per_axis[static_cast<size_t>(axis)] *= size;
  }
  int64_t last = 0;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0) return 0;
    last += (padded_[i] / per_axis[i] - 1) * strides_[i];
  }
  return (last + block) * DTypeSize(dtype);
}

bool Layout::HasPadding(absl::Span<const int64_t> dims) const {
  if (is_opaque()) return true;
  if (!is_blocked()) return false;
  // Sparse strides count as padding too: bytes beyond the elements.
  return ByteSize(DType::kUInt8, dims) != Product(dims);
}

bool Layout::operator==(const Layout& o) const {
  return kind_ == o.kind_ && strides_ == o.strides_ && padded_ == o.padded_ &&
         blocks_ == o.blocks_ && descriptor_ == o.descriptor_;
}

std::string Layout::ToString(int rank) const {
  if (is_opaque()) return "opaque";
  if (is_undecided()) return "undecided";
  std::string s;
  if (is_row_major()) {
    for (int i = 0; i < rank; ++i) s += static_cast<char>('a' + i);
    return s;
  }
  std::vector<int> order(strides_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return strides_[static_cast<size_t>(a)] > strides_[static_cast<size_t>(b)];
  });
  for (const int axis : order) {
    const bool blocked = std::any_of(blocks_.begin(), blocks_.end(),
                                     [&](const auto& block) { return block.first == axis; });
    s += static_cast<char>((blocked ? 'A' : 'a') + axis);
  }
  for (const auto& [axis, size] : blocks_)
    absl::StrAppend(&s, size, std::string(1, static_cast<char>('a' + axis)));
  return s;
}

std::vector<Layout::SplitAxis> Layout::Split(absl::Span<const int64_t> dims) const {
  GR_CHECK(!HasPadding(dims));
  std::vector<SplitAxis> split;
  if (!is_blocked()) {
    for (size_t i = 0; i < dims.size(); ++i) split.push_back({static_cast<int>(i), dims[i], 1});
    return split;
  }
  Dims step(dims.size(), 1);  // product of the blocks of an axis further in
  std::vector<SplitAxis> inner;
  for (size_t b = blocks_.size(); b-- > 0;) {
    const auto& [axis, size] = blocks_[b];
    inner.push_back({axis, size, step[static_cast<size_t>(axis)]});
    step[static_cast<size_t>(axis)] *= size;
  }
  std::vector<int> order(dims.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return strides_[static_cast<size_t>(a)] > strides_[static_cast<size_t>(b)];
  });
  for (const int axis : order) {
    const auto a = static_cast<size_t>(axis);
    split.push_back({axis, dims[a] / step[a], step[a]});
  }
  split.insert(split.end(), inner.rbegin(), inner.rend());
  return split;
}

}  // namespace graphrun
