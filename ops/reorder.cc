// Reorders between any two layouts: oneDNN's for its element types, plain loops for others.
#include <cstring>

#include "ops/conv_winograd.h"
#include "ops/onednn.h"
#include "ops/pooled_conv.h"
#include "ops/row_product.h"
#include "runtime/base/parallel.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// Where element i of one axis lies, for every axis: an element's offset is the sum over its axes.
std::vector<Dims> AxisOffsets(const Layout& layout, const Dims& dims) {
  const Dims plain = RowMajorStrides(dims);
  std::vector<Dims> offsets(dims.size());
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    offsets[axis].resize(static_cast<size_t>(dims[axis]));
    for (int64_t i = 0; i < dims[axis]; ++i) {
      int64_t& at = offsets[axis][static_cast<size_t>(i)];
      if (!layout.is_blocked()) {
        at = i * plain[axis];
        continue;
      }
      int64_t rest = i, step = 1;
      for (size_t b = layout.blocks().size(); b-- > 0;) {
        const auto& [block_axis, size] = layout.blocks()[b];
        if (static_cast<size_t>(block_axis) == axis) {
          at += rest % size * step;
          rest /= size;
        }
        step *= size;
      }
      at += rest * layout.strides()[axis];
    }
  }
  return offsets;
}

// Moves elements of that many bytes.
class NativeReorder : public Kernel {
 public:
  NativeReorder(DType dtype, Dims dims, const Layout& from, const Layout& to)
      : size_(DTypeSize(dtype)),
        dims_(std::move(dims)),
        from_(AxisOffsets(from, dims_)),
        to_(AxisOffsets(to, dims_)),
        clear_(to.HasPadding(dims_) ? to.ByteSize(dtype, dims_) : 0) {}

  absl::Status Run(RunContext& r) const override {
    const char* x = static_cast<const char*>(r.input(0).raw());
    char* y = static_cast<char*>(r.output(0).mutable_raw());
    if (clear_ > 0) std::memset(y, 0, static_cast<size_t>(clear_));
    switch (size_) {
      case 1:
        Move<1>(x, y);
        break;
      case 2:
        Move<2>(x, y);
        break;
      case 4:
        Move<4>(x, y);
        break;
      case 8:
        Move<8>(x, y);
        break;
      default:
        Move<16>(x, y);
    }
    return absl::OkStatus();
  }
  std::string info() const override { return "native"; }

 private:
  template <size_t kSize>
  void Move(const char* x, char* y) const {
    const size_t last = dims_.size() - 1;
    const int64_t row = dims_[last];
    if (row == 0) return;
    ParallelFor(Product(dims_) / row, std::max<int64_t>(16384 / row, 1),
                [&](int64_t begin, int64_t end) {
                  for (int64_t r = begin; r < end; ++r) {
                    int64_t from = 0, to = 0, rest = r;
                    for (size_t axis = last; axis-- > 0;) {
                      const auto i = static_cast<size_t>(rest % dims_[axis]);
                      rest /= dims_[axis];
                      from += from_[axis][i];
                      to += to_[axis][i];
                    }
                    const auto size = static_cast<int64_t>(kSize);
                    for (size_t i = 0; i < static_cast<size_t>(row); ++i) {
                      std::memcpy(y + (to + to_[last][i]) * size,
                                  x + (from + from_[last][i]) * size, kSize);
                    }
                  }
                });
  }

  int size_;
  Dims dims_;
  std::vector<Dims> from_, to_;
  int64_t clear_;
};

// oneDNN's reorder. Reorders that need scratch memory (into Winograd's weights) run when a plan is
// made, so that they may allocate it.
std::unique_ptr<Kernel> OneDnnReorder(DType dtype, const Dims& dims, const Layout& from,
                                      const Layout& to) {
  class ReorderKernel : public Kernel {
   public:
    explicit ReorderKernel(onednn::Program program) : program_(std::move(program)) {}
    absl::Status Run(RunContext& r) const override {
      if (program_.scratch_bytes() == 0) return program_.Run(r);
      GR_ASSIGN_OR_RETURN(Tensor scratch,
                          Tensor::Allocate(DType::kUInt8, {program_.scratch_bytes()}));
      const Datum* inputs[] = {&r.input_datum(0)};
      Datum* outputs[] = {&r.output_datum(0)};
      RunContext own(inputs, 1, outputs, 1, scratch.mutable_raw(), 0, 0);
      return program_.Run(own);
    }
    std::string info() const override { return program_.info(); }

   private:
    onednn::Program program_;
  };
  const auto from_md = onednn::Describe(dtype, dims, from);
  const auto to_md = onednn::Describe(dtype, dims, to);
  if (!from_md || !to_md || onednn::IsAny(*from_md) || onednn::IsAny(*to_md)) return nullptr;
  onednn::Program program;
  if (!program.AddReorder(*from_md, onednn::In(0), *to_md, onednn::Out(0))) return nullptr;
  return std::make_unique<ReorderKernel>(std::move(program));
}

absl::StatusOr<std::unique_ptr<Kernel>> MakeReorder(DType dtype, const Dims& dims,
                                                    const Layout& from, const Layout& to) {
  if (auto kernel = WinogradReorder(dtype, dims, from, to)) return kernel;
  if (auto kernel = RowProductReorder(dtype, dims, from, to)) return kernel;
  if (auto kernel = PooledConvReorder(dtype, dims, from, to)) return kernel;
  const bool empty = Product(dims) == 0;
  if (!empty && (from.is_opaque() || to.is_opaque() || Product(dims) >= 64)) {
    if (auto kernel = OneDnnReorder(dtype, dims, from, to)) return kernel;
  }
  if (from.is_undecided() || to.is_undecided()) {
    return InternalError("a reorder needs two layouts but one of them is undecided");
  }
  if (from.is_opaque() || to.is_opaque()) {
    return InternalError("no reorder of ", DTypeName(dtype), DimsToString(dims), " from ",
                         from.ToString(static_cast<int>(dims.size())), " to ",
                         to.ToString(static_cast<int>(dims.size())));
  }
  if (dtype == DType::kString || dims.empty() || empty) {
    if (from == to || empty) {
      return MakeKernel([](RunContext&) { return absl::OkStatus(); });
    }
    return InternalError("strings and scalars have one layout only");
  }
  return std::unique_ptr<Kernel>(std::make_unique<NativeReorder>(dtype, dims, from, to));
}

}  // namespace

void RegisterReorderOps(OpRegistry& ops) { ops.SetReorder(MakeReorder); }

}  // namespace graphrun
