// NonMaxSuppression: the best boxes that do not overlap a better one too much.
//
// Source: https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html (10, 11). Of equal scores the
// lower box number comes first.
#include <algorithm>
#include <cmath>

#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferNms(InferContext& c) {
  const Shape &boxes = c.input_shape(0), &scores = c.input_shape(1);
  if (boxes.has_rank() && (boxes.rank() != 3 || (boxes[2].is_number() && boxes[2].value() != 4))) {
    return c.Error("boxes has shape ", boxes.ToString(), " but must be [batches, boxes, 4]");
  }
  if (scores.has_rank() && scores.rank() != 3) {
    return c.Error("scores has shape ", scores.ToString(),
                   " but must be [batches, classes, boxes]");
  }
  if (boxes.has_rank() && scores.has_rank()) {
    const auto differ = [](const Dim& a, const Dim& b) {
      return a.is_number() && b.is_number() && a.value() != b.value();
    };
    if (differ(boxes[0], scores[0]) || differ(boxes[1], scores[2])) {
      return c.Error("boxes has shape ", boxes.ToString(), " but scores has ", scores.ToString(),
                     ": batches and boxes must agree");
    }
  }
  c.set_output(0, DType::kInt64, Shape({Dim(), Dim(3)}));
  return absl::OkStatus();
}

struct Box {
  float x0, y0, x1, y1;
  float Area() const { return (x1 - x0) * (y1 - y0); }
};

Box BoxAt(const float* p, bool center) {
  if (center) return {p[0] - p[2] / 2, p[1] - p[3] / 2, p[0] + p[2] / 2, p[1] + p[3] / 2};
  return {std::min(p[1], p[3]), std::min(p[0], p[2]), std::max(p[1], p[3]), std::max(p[0], p[2])};
}

float IntersectionOverUnion(const Box& a, const Box& b) {
  const float width = std::min(a.x1, b.x1) - std::max(a.x0, b.x0);
  const float height = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  if (!(width > 0) || !(height > 0)) return 0;
  const float both = width * height, either = a.Area() + b.Area() - both;
  return either > 0 ? both / either : 0;
}

absl::StatusOr<std::unique_ptr<Kernel>> NmsKernel(PrepareContext& c) {
  const bool center = c.Int("center_point_box") != 0;
  return MakeKernel([center](RunContext& r) -> absl::Status {
    const Tensor &boxes = r.input(0), &scores = r.input(1);
    const int64_t batches = scores.dim(0), classes = scores.dim(1), n = scores.dim(2);
    const auto number = [&](int i, double fallback) {
      return r.has_input(i) && r.input(i).num_elements() > 0 ? r.input(i).AsDouble(0) : fallback;
    };
    const double asked = number(2, 0);
    const int64_t most = asked >= 9e18 ? INT64_MAX : static_cast<int64_t>(std::max(asked, 0.0));
    const auto overlap = static_cast<float>(number(3, 0));
    const bool has_least = r.has_input(4) && r.input(4).num_elements() > 0;
    const auto least = static_cast<float>(number(4, 0));
    std::vector<std::vector<int64_t>> chosen(static_cast<size_t>(batches * classes));
    ParallelFor(batches * classes, 1, [&](int64_t begin, int64_t end) {
      std::vector<int64_t> order;
      std::vector<Box> kept;
      for (int64_t job = begin; job < end; ++job) {
        const float* score = scores.data<float>() + job * n;
        const float* box = boxes.data<float>() + job / classes * n * 4;
        order.clear();
        kept.clear();
        for (int64_t i = 0; i < n && most > 0; ++i) {
          if (!has_least || score[i] > least) order.push_back(i);
        }
        std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
          return score[a] != score[b] ? score[a] > score[b] : a < b;
        });
        std::vector<int64_t>& mine = chosen[static_cast<size_t>(job)];
        for (const int64_t i : order) {
          if (static_cast<int64_t>(mine.size()) >= most) break;
          const Box b = BoxAt(box + i * 4, center);
          const bool covered = std::any_of(kept.begin(), kept.end(), [&](const Box& k) {
            return IntersectionOverUnion(b, k) > overlap;
          });
          if (covered) continue;
          kept.push_back(b);
          mine.push_back(i);
        }
      }
    });
    int64_t total = 0;
    for (const auto& mine : chosen) total += static_cast<int64_t>(mine.size());
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, DType::kInt64, {total, 3}));
    int64_t* y = r.output(0).mutable_data<int64_t>();
    for (size_t job = 0; job < chosen.size(); ++job) {
      for (const int64_t i : chosen[job]) {
        *y++ = static_cast<int64_t>(job) / classes;
        *y++ = static_cast<int64_t>(job) % classes;
        *y++ = i;
      }
    }
    return absl::OkStatus();
  });
}

// Two classes of three boxes, of which the second overlaps the first.
Sample ThreeBoxes() {
  return Sample()
      .In(Tensor::Of<float>({1, 3, 4}, {0, 0, 1, 1, 0, 0.1f, 1, 1.1f, 0, 10, 1, 11}))
      .In(Tensor::Of<float>({1, 2, 3}, {0.9f, 0.75f, 0.6f, 0.3f, 0.75f, 0.1f}));
}

}  // namespace

void RegisterNonMaxSuppressionOps(OpRegistry& ops) {
  ops.Add(OpDef("NonMaxSuppression", 10)
              .Versions({10, 11})
              .Input("boxes", "F")
              .Input("scores", "F")
              .Input("max_output_boxes_per_class", "int64", Arity::kOptional)
              .Input("iou_threshold", "F", Arity::kOptional)
              .Input("score_threshold", "F", Arity::kOptional)
              .Output("selected_indices", "int64")
              .Attr("center_point_box", 0)
              .Types("F", {DType::kFloat32})
              .Infer(InferNms)
              .Kernel("native", NmsKernel)
              .NotDifferentiable("integer result")
              .Try(ThreeBoxes()
                       .In(Tensor::Int64s({3}))
                       .In(Tensor::Scalar<float>(0.5f))
                       .In(Tensor::Scalar<float>(0.2f))
                       .Gives(Tensor::Of<int64_t>({3, 3}, {0, 0, 0, 0, 0, 2, 0, 1, 1})))
              .Try(ThreeBoxes().Gives(Tensor::Int64s({}).Reshaped({0, 3})))
              .Try(ThreeBoxes()
                       .In(Tensor::Int64s({1}))
                       .In(Tensor::Scalar<float>(0.5f))
                       .Attr("center_point_box", 1)
                       .Gives(Tensor::Of<int64_t>({2, 3}, {0, 0, 0, 0, 1, 1})))
              .Try(Sample().In({1, 3, 5}).In({1, 1, 3}).Refused("[batches, boxes, 4]"))
              .Try(Sample().In({1, 3, 4}).In({1, 1, 2}).Refused("must agree")));
}

}  // namespace graphrun
