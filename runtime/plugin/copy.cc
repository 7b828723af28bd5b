#include <cmath>
#include <cstring>

#include "runtime/base/limits.h"
#include "runtime/plugin/handles.h"
#include "runtime/plugin/memory.h"

namespace graphrun {

gr_tensor TensorView(const Tensor& tensor) {
  gr_tensor view = {};
  view.struct_size = sizeof(view);
  view.dtype = static_cast<int32_t>(tensor.dtype());
  view.rank = tensor.rank();
  view.dims = tensor.dims().data();
  view.num_elements = tensor.num_elements();
  view.data = const_cast<void*>(tensor.raw());
  return view;
}

gr_dim DimView(const Dim& dim) {
  return {dim.is_number() ? dim.value() : -1, dim.is_symbol() ? dim.symbol().c_str() : nullptr};
}

bool IsPluginDType(int32_t dtype) { return IsValidDType(dtype) && dtype != GR_STRING; }

absl::StatusOr<Dims> CopyDims(int32_t rank, const int64_t* dims, absl::string_view where) {
  if (rank < 0 || rank > kMaxRank) {
    return PluginError(where, ": rank ", rank, " is not in [0, ", kMaxRank, "]");
  }
  auto copy = TableReader::Plain(dims, static_cast<size_t>(rank), absl::StrCat(where, ": dims"));
  if (!copy.ok()) return copy.status();
  const auto elements = NumElements(*copy);
  if (!elements.ok()) return PluginError(where, ": ", elements.status().message());
  return copy;
}

absl::StatusOr<Shape> CopyShape(int32_t rank, const gr_dim* dims, absl::string_view where) {
  if (rank == -1) return Shape();
  if (rank < 0 || rank > kMaxRank) {
    return PluginError(where, ": rank ", rank, " is not in [-1, ", kMaxRank, "]");
  }
  GR_ASSIGN_OR_RETURN(auto plain, TableReader::Plain(dims, static_cast<size_t>(rank),
                                                     absl::StrCat(where, ": dims")));
  std::vector<Dim> shape;
  Dims known;
  for (const gr_dim& d : plain) {
    if (d.value >= 0) {
      shape.emplace_back(d.value);
      known.push_back(d.value);
    } else if (d.value == -1) {
      GR_ASSIGN_OR_RETURN(std::string symbol,
                          TableReader::Text(d.symbol, 1024, absl::StrCat(where, ": a symbol")));
      shape.push_back(symbol.empty() ? Dim() : Dim::Symbol(std::move(symbol)));
    } else {
      return PluginError(where, ": the size of an axis is ", d.value,
                         "; it must be 0 or more, or -1 where it is not known");
    }
  }
  const auto elements = NumElements(known);
  if (!elements.ok()) return PluginError(where, ": ", elements.status().message());
  return Shape(std::move(shape));
}

absl::StatusOr<Tensor> CopyTensor(const gr_tensor* tensor, absl::string_view where) {
  GR_ASSIGN_OR_RETURN(const gr_tensor t,
                      TableReader::One(tensor, GR_THROUGH(gr_tensor, data), where));
  if (!IsPluginDType(t.dtype)) {
    return PluginError(where, ": element type ", t.dtype, " is none that plugins may use");
  }
  GR_ASSIGN_OR_RETURN(Dims dims, CopyDims(t.rank, t.dims, where));
  GR_ASSIGN_OR_RETURN(Tensor copy, Tensor::Allocate(static_cast<DType>(t.dtype), dims));
  const size_t bytes = static_cast<size_t>(copy.byte_size());
  if (!IsReadable(t.data, bytes)) {
    return PluginError(where, ": its ", bytes, " bytes cannot be read");
  }
  if (bytes > 0) std::memcpy(copy.mutable_raw(), t.data, bytes);
  return copy;
}

absl::optional<Attr::Kind> KindOfAttr(int32_t kind) {
  switch (kind) {
    case GR_ATTR_INT:
      return Attr::Kind::kInt;
    case GR_ATTR_FLOAT:
      return Attr::Kind::kFloat;
    case GR_ATTR_STRING:
      return Attr::Kind::kString;
    case GR_ATTR_TENSOR:
      return Attr::Kind::kTensor;
    case GR_ATTR_INTS:
      return Attr::Kind::kInts;
    case GR_ATTR_FLOATS:
      return Attr::Kind::kFloats;
    case GR_ATTR_STRINGS:
      return Attr::Kind::kStrings;
    default:
      return absl::nullopt;
  }
}

absl::StatusOr<Attr> CopyAttr(const gr_attr& attr, absl::string_view where) {
  constexpr size_t kMostText = size_t{1} << 20;
  switch (attr.kind) {
    case GR_ATTR_INT:
      return Attr(attr.i);
    case GR_ATTR_FLOAT:
      return Attr(attr.f);
    case GR_ATTR_STRING: {
      GR_ASSIGN_OR_RETURN(std::string text, TableReader::Text(attr.s, kMostText, where));
      return Attr(std::move(text));
    }
    case GR_ATTR_TENSOR: {
      GR_ASSIGN_OR_RETURN(Tensor tensor, CopyTensor(attr.tensor, where));
      return Attr(std::move(tensor));
    }
    case GR_ATTR_INTS: {
      GR_ASSIGN_OR_RETURN(auto ints, TableReader::Plain(attr.ints, attr.count, where));
      return Attr(std::move(ints));
    }
    case GR_ATTR_FLOATS: {
      GR_ASSIGN_OR_RETURN(auto floats, TableReader::Plain(attr.floats, attr.count, where));
      return Attr(std::move(floats));
    }
    case GR_ATTR_STRINGS: {
      GR_ASSIGN_OR_RETURN(auto plain, TableReader::Plain(attr.strings, attr.count, where));
      std::vector<std::string> strings;
      for (const char* s : plain) {
        GR_ASSIGN_OR_RETURN(std::string text, TableReader::Text(s, kMostText, where));
        strings.push_back(std::move(text));
      }
      return Attr(std::move(strings));
    }
    default:
      return PluginError(where, ": attribute kind ", attr.kind, " is none of the GR_ATTR_ numbers");
  }
}

}  // namespace graphrun
