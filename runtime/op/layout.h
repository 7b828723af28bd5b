// Layout: how a tensor's elements lie in memory. The logical sizes of a value are the graph's; its
// layout belongs to the execution plan.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "runtime/base/dtype.h"
#include "runtime/base/shape.h"

namespace graphrun {

class Layout {
 public:
  enum class Kind {
    kRowMajor,   // dense, last axis fastest
    kUndecided,  // a state or constant whose first consumer may choose
    kBlocked,    // strides over outer axes, then inner blocks (nhwc, nChw16c, OIhw16i16o, ...)
    kOpaque,     // known only to the kernel library that made it (packed recurrent or Winograd
                 // weights)
  };
  Layout() = default;  // row-major
  static Layout Undecided();
  // Strides are in elements, of the outer index of each axis (axis size / product of its blocks).
  // `blocks` lists (axis, size) from the outermost to the innermost. `padded` are the sizes rounded
  // up to whole blocks. Gives kRowMajor where that is what it describes.
  static Layout Blocked(absl::Span<const int64_t> dims, Dims strides, Dims padded,
                        std::vector<std::pair<int, int64_t>> blocks);
  // A permutation of dense axes, outermost first: {0, 2, 3, 1} is nhwc.
  static Layout Permuted(absl::Span<const int64_t> dims, absl::Span<const int> order);
  // `descriptor` identifies the layout for its library; `bytes` is what a tensor takes.
  static Layout Opaque(std::string descriptor, int64_t bytes);

  Kind kind() const { return kind_; }
  bool is_row_major() const { return kind_ == Kind::kRowMajor; }
  bool is_undecided() const { return kind_ == Kind::kUndecided; }
  bool is_blocked() const { return kind_ == Kind::kBlocked; }
  bool is_opaque() const { return kind_ == Kind::kOpaque; }
  const Dims& strides() const { return strides_; }
  const Dims& padded() const { return padded_; }
  const std::vector<std::pair<int, int64_t>>& blocks() const { return blocks_; }
  const std::string& descriptor() const { return descriptor_; }

  // Bytes that a tensor of that type and size takes.
  int64_t ByteSize(DType dtype, absl::Span<const int64_t> dims) const;
  // True where some memory belongs to no element (sizes rounded up to whole blocks, or opaque).
  bool HasPadding(absl::Span<const int64_t> dims) const;
  bool operator==(const Layout& o) const;
  bool operator!=(const Layout& o) const { return !(*this == o); }
  // "abcd" for row-major rank 4, "acdb" for nhwc, "aBcd16b" for nChw16c, "opaque".
  std::string ToString(int rank) const;

  // The same memory as a dense strided tensor of a higher rank: each blocked axis split into its
  // outer part and its blocks. For every axis of the split tensor in memory order (outermost
  // first): which logical axis it belongs to, its size, and its step within that logical axis.
  // REQUIRES: row-major or blocked without padding.
  struct SplitAxis {
    int axis;
    int64_t size;
    int64_t step;
  };
  std::vector<SplitAxis> Split(absl::Span<const int64_t> dims) const;

 private:
  Kind kind_ = Kind::kRowMajor;
  Dims strides_, padded_;
  std::vector<std::pair<int, int64_t>> blocks_;
  std::string descriptor_;
  int64_t bytes_ = 0;
};

}  // namespace graphrun
