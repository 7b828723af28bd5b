#include "ops/window.h"

#include <algorithm>

namespace graphrun {
namespace {

// Beyond this no window makes sense, and products of two such numbers still fit.
constexpr int64_t kLargest = int64_t{1} << 30;

absl::StatusOr<Dims> ReadSizes(const NodeContext& c, absl::string_view name, size_t count,
                               int64_t fallback, int64_t smallest) {
  Dims sizes = c.Ints(name);
  if (sizes.empty()) sizes.assign(count, fallback);
  if (sizes.size() != count) {
    return c.Error("attribute ", name, " has ", sizes.size(), " entries but must have ", count,
                   " for an input with that many spatial axes");
  }
  for (const int64_t size : sizes) {
    if (size < smallest || size > kLargest) {
      return c.Error("attribute ", name, " has the entry ", size, ", which must be between ",
                     smallest, " and ", kLargest);
    }
  }
  return sizes;
}

absl::Status CheckAutoPad(const NodeContext& c) {
  const std::string auto_pad = c.String("auto_pad", "NOTSET");
  for (const char* known : {"NOTSET", "", "SAME_UPPER", "SAME_LOWER", "VALID"}) {
    if (auto_pad == known) return absl::OkStatus();
  }
  return c.Error("attribute auto_pad is \"", auto_pad,
                 "\". It must be NOTSET, SAME_UPPER, SAME_LOWER or VALID");
}

bool IsSame(const NodeContext& c) {
  const std::string auto_pad = c.String("auto_pad", "NOTSET");
  return auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
}

// Splits the pads of one axis; the odd one goes to the end for SAME_UPPER, else to the begin.
void Split(const NodeContext& c, int64_t total, int64_t* begin, int64_t* end) {
  *begin = c.String("auto_pad") == "SAME_UPPER" ? total / 2 : total - total / 2;
  *end = total - *begin;
}

}  // namespace

OpDef WithWindow(OpDef def) {
  return std::move(def.Attr("auto_pad", "NOTSET")
                       .Attr("dilations", Attr::Kind::kInts)
                       .Attr("kernel_shape", Attr::Kind::kInts)
                       .Attr("pads", Attr::Kind::kInts)
                       .Attr("strides", Attr::Kind::kInts));
}
OpDef WithPoolWindow(OpDef def) {
  return std::move(WithWindow(std::move(def)).Attr("ceil_mode", 0));
}

std::vector<Dim> SpatialDims(const Shape& shape) {
  return std::vector<Dim>(shape.dims().begin() + 2, shape.dims().end());
}

Dims SpatialDims(const Dims& dims) { return Dims(dims.begin() + 2, dims.end()); }

absl::StatusOr<Window> ReadWindow(const NodeContext& c, int spatial, const Shape* weight) {
  const auto count = static_cast<size_t>(spatial);
  GR_RETURN_IF_ERROR(CheckAutoPad(c));
  Window w;
  w.kernel = c.Ints("kernel_shape");
  if (w.kernel.empty() && weight != nullptr) {
    for (int i = 2; i < weight->rank(); ++i) {
      // An unknown size stays 0 here: what depends on it is unknown too.
      w.kernel.push_back((*weight)[i].is_number() ? (*weight)[i].value() : 0);
      if ((*weight)[i].is_number() && w.kernel.back() < 1)
        return c.Error("input W has shape ", weight->ToString(), ": a window without elements");
    }
  } else {
    GR_ASSIGN_OR_RETURN(w.kernel, ReadSizes(c, "kernel_shape", count, 0, 1));
    for (size_t i = 0; weight != nullptr && i < count; ++i) {
      const Dim& d = (*weight)[static_cast<int>(i) + 2];
      if (d.is_number() && d.value() != w.kernel[i]) {
        return c.Error("attribute kernel_shape is ", DimsToString(w.kernel),
                       " but input W has shape ", weight->ToString(), ". They must agree");
      }
    }
  }
  GR_ASSIGN_OR_RETURN(w.strides, ReadSizes(c, "strides", count, 1, 1));
  GR_ASSIGN_OR_RETURN(w.dilations, ReadSizes(c, "dilations", count, 1, 1));
  GR_ASSIGN_OR_RETURN(const Dims pads, ReadSizes(c, "pads", 2 * count, 0, 0));
  w.pads_begin.assign(pads.begin(), pads.begin() + spatial);
  w.pads_end.assign(pads.begin() + spatial, pads.end());
  for (const int64_t k : w.kernel) {
    if (k > kLargest) return c.Error("a window of ", k, " elements along one axis is too large");
  }
  const std::string auto_pad = c.String("auto_pad", "NOTSET");
  if (auto_pad != "NOTSET" && !auto_pad.empty()) {
    w.pads_begin.assign(count, 0);
    w.pads_end.assign(count, 0);
  }
  return w;
}

Window ResolvePads(const NodeContext& c, Window w, const Dims& input) {
  if (!IsSame(c)) return w;
  for (int i = 0; i < w.rank(); ++i) {
    const auto a = static_cast<size_t>(i);
    const int64_t output = (input[a] + w.strides[a] - 1) / w.strides[a];
    const int64_t total =
        std::max<int64_t>((output - 1) * w.strides[a] + w.Extent(i) - input[a], 0);
    Split(c, total, &w.pads_begin[a], &w.pads_end[a]);
  }
  return w;
}

absl::StatusOr<std::vector<Dim>> SlideOver(const NodeContext& c, const Window& w,
                                           const std::vector<Dim>& input) {
  const bool ceil = c.Int("ceil_mode", 0) != 0;
  std::vector<Dim> output;
  for (int i = 0; i < w.rank(); ++i) {
    const auto a = static_cast<size_t>(i);
    const int64_t stride = w.strides[a];
    if (w.kernel[a] == 0) {
      output.emplace_back();
    } else if (IsSame(c)) {
      if (input[a].is_number()) {
        output.emplace_back((input[a].value() + stride - 1) / stride);
      } else {
        output.push_back(stride == 1 ? input[a] : Dim());
      }
    } else if (!input[a].is_number()) {
      const bool same = stride == 1 && w.pads_begin[a] + w.pads_end[a] == w.Extent(i) - 1;
      output.push_back(same ? input[a] : Dim());
    } else {
      const int64_t padded = input[a].value() + w.pads_begin[a] + w.pads_end[a];
      if (padded < w.Extent(i)) {
        return c.Error("along spatial axis ", i, " the window spans ", w.Extent(i),
                       " elements but the padded input has only ", padded,
                       ". Use a smaller kernel, or pads");
      }
      int64_t n = (padded - w.Extent(i) + (ceil ? stride - 1 : 0)) / stride + 1;
      // A last window that starts in the padding at the end does not count.
      if (ceil && (n - 1) * stride >= input[a].value() + w.pads_begin[a]) --n;
      output.emplace_back(n);
    }
  }
  return output;
}

absl::StatusOr<Window> ReadTransposedWindow(const NodeContext& c, const std::vector<Dim>& input,
                                            const Shape& weight, std::vector<Dim>* output) {
  const size_t count = input.size();
  GR_ASSIGN_OR_RETURN(Window w, ReadWindow(c, static_cast<int>(count), &weight));
  GR_ASSIGN_OR_RETURN(const Dims extra, ReadSizes(c, "output_padding", count, 0, 0));
  Dims asked = c.Ints("output_shape");
  if (!asked.empty()) {
    GR_ASSIGN_OR_RETURN(asked, ReadSizes(c, "output_shape", count, 0, 0));
  }
  output->clear();
  for (size_t a = 0; a < count; ++a) {
    const int64_t stride = w.strides[a];
    if (extra[a] >= std::max(stride, w.dilations[a])) {
      return c.Error("attribute output_padding has the entry ", extra[a],
                     ", which must be less than the stride or the dilation of its axis");
    }
    if (w.kernel[a] == 0 || !input[a].is_number()) {
      output->push_back(asked.empty() ? Dim() : Dim(asked[a]));
      continue;
    }
    const auto steps = CheckedMul(input[a].value() - (input[a].value() > 0 ? 1 : 0), stride);
    if (!steps) return c.Error("the output's size overflows along spatial axis ", a);
    const int64_t whole = *steps + w.Extent(static_cast<int>(a)) + extra[a];
    int64_t size = whole - w.pads_begin[a] - w.pads_end[a];
    if (!asked.empty() || IsSame(c)) {
      size = asked.empty() ? input[a].value() * stride : asked[a];
      if (size - whole >= std::max(stride, w.dilations[a])) {
        return c.Error("attribute output_shape asks for ", size, " along spatial axis ", a,
                       " but the windows cover only ", whole);
      }
      Split(c, std::max<int64_t>(whole - size, 0), &w.pads_begin[a], &w.pads_end[a]);
    }
    if (size < 0) {
      return c.Error("pads along spatial axis ", a, " are larger than the output of ", whole);
    }
    output->emplace_back(size);
  }
  return w;
}

AttrMap WindowAttrs(const Window& w) {
  Dims pads = w.pads_begin;
  pads.insert(pads.end(), w.pads_end.begin(), w.pads_end.end());
  return {{"kernel_shape", w.kernel},
          {"strides", w.strides},
          {"dilations", w.dilations},
          {"pads", pads}};
}

}  // namespace graphrun
