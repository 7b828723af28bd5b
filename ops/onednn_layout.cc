// Descriptors of oneDNN and layouts of ours, both ways.
#include "ops/onednn_layout.h"

#include <algorithm>
#include <cstring>

#include "ops/onednn.h"
#include "runtime/base/limits.h"

namespace graphrun::onednn {
namespace {

using dnnl::memory;

// A stride for every axis of size 1, as the dense tensor of that axis order would have.
Dims FullStrides(const Dims& dims, Dims strides) {
  int64_t total = 1;
  for (const int64_t d : dims) total *= d;
  for (size_t i = dims.size(); i-- > 0;) {
    if (dims[i] != 1) continue;
    if (i == 0) {
      strides[i] = total;
    } else if (i + 1 < dims.size()) {
      strides[i] = strides[i + 1] * dims[i + 1];
    } else {
      strides[i] = dims.size() > 1 && strides[1] == 1 && dims[1] != 1 ? dims[1] : 1;
    }
  }
  return strides;
}

#if DNNL_VERSION_MAJOR >= 3

Layout BlockedLayout(const Md& md) {
  std::vector<std::pair<int, int64_t>> blocks;
  const Dims sizes = md.get_inner_blks(), axes = md.get_inner_idxs();
  for (size_t i = 0; i < sizes.size() && static_cast<int>(i) < md.get_inner_nblks(); ++i) {
    blocks.emplace_back(static_cast<int>(axes[i]), sizes[i]);
  }
  return Layout::Blocked(md.get_dims(), md.get_strides(), md.get_padded_dims(), std::move(blocks));
}

// Version 3 builds blocked descriptors only from its own list of formats.
absl::optional<Md> FromTag(DType dtype, const Dims& dims, const Layout& layout) {
  for (int tag = dnnl_format_tag_any + 1; tag < dnnl_format_tag_last; ++tag) {
    const Md md(dims, TypeOf(dtype), static_cast<memory::format_tag>(tag), true);
    if (!md || md.get_inner_nblks() != static_cast<int>(layout.blocks().size())) continue;
    if (BlockedLayout(md) == layout) return md;
  }
  return absl::nullopt;
}

std::string Pack(const Md& md) {
#if DNNL_VERSION_MAJOR > 3 || DNNL_VERSION_MINOR >= 5
  const std::vector<uint8_t> blob = const_cast<Md&>(md).get_blob();
  return std::string(blob.begin(), blob.end());
#else
  return "";
#endif
}

absl::optional<Md> Unpack(const std::string& text) {
#if DNNL_VERSION_MAJOR > 3 || DNNL_VERSION_MINOR >= 5
  return Md(std::vector<uint8_t>(text.begin(), text.end()));
#else
  return absl::nullopt;
#endif
}

#else

std::string Pack(const Md& md) {
  return std::string(reinterpret_cast<const char*>(&md.data), sizeof(md.data));
}

absl::optional<Md> Unpack(const std::string& text) {
  Md md;
  if (text.size() != sizeof(md.data)) return absl::nullopt;
  std::memcpy(&md.data, text.data(), sizeof(md.data));
  return md;
}

#endif

}  // namespace

memory::data_type TypeOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return memory::data_type::f32;
    case DType::kBFloat16:
      return memory::data_type::bf16;
    case DType::kFloat16:
      return memory::data_type::f16;
    case DType::kInt32:
      return memory::data_type::s32;
    case DType::kInt8:
      return memory::data_type::s8;
    case DType::kUInt8:
      return memory::data_type::u8;
    default:
      return memory::data_type::undef;
  }
}

bool IsSound(DType dtype, const Dims& dims) {
  int64_t bytes = DTypeSize(dtype);
  for (const int64_t d : dims) {
    const auto product = d < 1 ? absl::nullopt : CheckedMul(bytes, d);
    if (!product) return false;
    bytes = *product;
  }
  return dims.size() <= DNNL_MAX_NDIMS && bytes <= kMaxTensorBytes;
}

Md RowMajor(DType dtype, const Dims& dims) {
  return Md(dims, TypeOf(dtype), RowMajorStrides(dims));
}

Md Any(DType dtype, const Dims& dims) { return Md(dims, TypeOf(dtype), memory::format_tag::any); }

Md Strided(DType dtype, const Dims& dims, const Dims& strides) {
  return Md(dims, TypeOf(dtype), strides);
}

Md ChannelsLast(DType dtype, const Dims& dims) {
  Dims strides(dims.size());
  int64_t step = dims[1];
  strides[1] = 1;
  for (size_t i = dims.size(); i-- > 2;) {
    strides[i] = step;
    step *= dims[i];
  }
  strides[0] = step;
  return Md(dims, TypeOf(dtype), strides);
}

Md ChannelBlocks(DType dtype, const Dims& dims) {
  const auto tag = dims.size() == 3   ? memory::format_tag::nCw16c
                   : dims.size() == 4 ? memory::format_tag::nChw16c
                                      : memory::format_tag::nCdhw16c;
  return Md(dims, TypeOf(dtype), tag);
}

#if DNNL_VERSION_MAJOR >= 3

Dims DimsOf(const Md& md) { return md.get_dims(); }
bool IsAny(const Md& md) { return md.get_format_kind() == memory::format_kind::any; }
static memory::data_type DataTypeOf(const Md& md) { return md.get_data_type(); }

absl::optional<Layout> LayoutOf(const Md& md) {
  const auto opaque = [&]() -> absl::optional<Layout> {
    std::string packed = Pack(md);
    if (packed.empty()) return absl::nullopt;
    return Layout::Opaque(std::move(packed), ByteSize(md));
  };
  if (md.get_format_kind() != memory::format_kind::blocked) return opaque();
  const Layout layout = BlockedLayout(md);
  // Formats outside of the list, and those with more to them than blocks (compensation).
  if (layout.is_blocked() &&
      (ByteSize(md) != layout.ByteSize(DTypeOf(md), md.get_dims()) ||
       (!layout.blocks().empty() && !FromTag(DTypeOf(md), md.get_dims(), layout)))) {
    return opaque();
  }
  return layout;
}

#else

Dims DimsOf(const Md& md) { return Dims(md.data.dims, md.data.dims + md.data.ndims); }
bool IsAny(const Md& md) { return md.data.format_kind == dnnl_format_kind_any; }
static memory::data_type DataTypeOf(const Md& md) {
  return static_cast<memory::data_type>(md.data.data_type);
}

absl::optional<Layout> LayoutOf(const Md& md) {
  const auto& d = md.data;
  if (d.format_kind != dnnl_blocked || d.extra.flags != 0 || d.offset0 != 0) {
    return Layout::Opaque(Pack(md), ByteSize(md));
  }
  const auto& blocking = d.format_desc.blocking;
  std::vector<std::pair<int, int64_t>> blocks;
  for (int i = 0; i < blocking.inner_nblks; ++i) {
    blocks.emplace_back(static_cast<int>(blocking.inner_idxs[i]), blocking.inner_blks[i]);
  }
  return Layout::Blocked(DimsOf(md), Dims(blocking.strides, blocking.strides + d.ndims),
                         Dims(d.padded_dims, d.padded_dims + d.ndims), std::move(blocks));
}

#endif

DType DTypeOf(const Md& md) {
  switch (DataTypeOf(md)) {
    case memory::data_type::f32:
      return DType::kFloat32;
    case memory::data_type::bf16:
      return DType::kBFloat16;
    case memory::data_type::f16:
      return DType::kFloat16;
    case memory::data_type::s32:
      return DType::kInt32;
    case memory::data_type::s8:
      return DType::kInt8;
    case memory::data_type::u8:
      return DType::kUInt8;
    default:
      return DType::kUndefined;
  }
}

int64_t ByteSize(const Md& md) { return static_cast<int64_t>(md.get_size()); }

absl::optional<Md> Describe(DType dtype, const Dims& dims, const Layout& layout) {
  if (TypeOf(dtype) == memory::data_type::undef || !IsSound(dtype, dims)) return absl::nullopt;
  try {
    if (dims.empty()) return Md({1}, TypeOf(dtype), memory::format_tag::a);
    switch (layout.kind()) {
      case Layout::Kind::kRowMajor:
        return RowMajor(dtype, dims);
      case Layout::Kind::kUndecided:
        return Any(dtype, dims);
      case Layout::Kind::kOpaque:
        return Unpack(layout.descriptor());
      case Layout::Kind::kBlocked:
        break;
    }
    if (layout.blocks().empty()) {
      if (layout.padded() != dims) return absl::nullopt;
      return Strided(dtype, dims, FullStrides(dims, layout.strides()));
    }
#if DNNL_VERSION_MAJOR >= 3
    return FromTag(dtype, dims, layout);
#else
    if (layout.blocks().size() > DNNL_MAX_NDIMS) return absl::nullopt;
    Md md = RowMajor(dtype, dims);
    auto& blocking = md.data.format_desc.blocking;
    for (size_t i = 0; i < dims.size(); ++i) {
      md.data.padded_dims[i] = layout.padded()[i];
      blocking.strides[i] = layout.strides()[i];
    }
    blocking.inner_nblks = static_cast<int>(layout.blocks().size());
    for (size_t i = 0; i < layout.blocks().size(); ++i) {
      blocking.inner_idxs[i] = layout.blocks()[i].first;
      blocking.inner_blks[i] = layout.blocks()[i].second;
    }
    return md;
#endif
  } catch (const dnnl::error&) {
    return absl::nullopt;
  }
}

}  // namespace graphrun::onednn
