#include "tools/model_plots.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/exec/session.h"
#include "runtime/report/plot.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/evaluation.h"
#include "runtime/train/inference_form.h"
#include "runtime/train/run_setup.h"

namespace graphrun::cli {
namespace {

constexpr size_t kMostCharts = 64;
constexpr int64_t kCells = 120;  // along each axis
constexpr size_t kMostPoints = 2000;

// The class of row `i` of outputs [N, C]; of one output, whether it is above a half (of a
// probability) or above 0 (of a logit).
int64_t Decision(const Tensor& y, int64_t i, int64_t classes, bool logits) {
  if (classes == 1) return y.AsDouble(i) > (logits ? 0 : 0.5);
  int64_t best = 0;
  for (int64_t c = 1; c < classes; ++c)
    if (y.AsDouble(i * classes + c) > y.AsDouble(i * classes + best)) best = c;
  return best;
}

struct Points {
  std::vector<double> x, y;
  std::vector<int64_t> classes;
};

absl::StatusOr<Points> ReadPoints(Predictor* predictor) {
  Points points;
  const TrainData& data = predictor->data();
  if (data.inputs.size() != 1 || Product(data.inputs[0].sample) != 2)
    return UsageError("a boundary is drawn for models whose sample is two numbers");
  if (!data.class_target) return UsageError("a boundary is drawn between classes");
  const auto take = [&](const Batch& batch, const Tensor&, const Tensor& target) {
    const Tensor& rows = batch.fields[static_cast<size_t>(data.inputs[0].field)];
    for (int64_t i = 0; i < batch.size && points.x.size() < kMostPoints; ++i) {
      points.x.push_back(rows.AsDouble(2 * i));
      points.y.push_back(rows.AsDouble(2 * i + 1));
      points.classes.push_back(static_cast<int64_t>(target.AsDouble(i)));
    }
    return absl::OkStatus();
  };
  GR_RETURN_IF_ERROR(predictor->Run(take));
  if (points.x.empty()) return UsageError("the data have no rows");
  return points;
}

// Ends of an axis: the points' with a tenth more on both sides.
std::pair<double, double> Ends(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double margin = std::max(0.1 * (*high - *low), 1e-6);
  return {*low - margin, *high + margin};
}

// Of float32 numbers.
RunReport::Chart HistogramOf(const std::string& kind, const std::string& name, const Tensor& t) {
  Histogram histogram = Histogram::Of(
      absl::Span<const float>(t.data<float>(), static_cast<size_t>(t.num_elements())));
  histogram.frame.title = absl::StrCat(name, " ", DimsToString(t.dims()));
  histogram.frame.x_label = kind;
  histogram.frame.y_label = "count";
  histogram.frame.width = 480;
  histogram.frame.height = 300;
  return {absl::StrCat(kind, "s/", name), histogram.ToSvg()};
}

}  // namespace

std::vector<RunReport::Chart> WeightCharts(const Graph& model) {
  std::vector<RunReport::Chart> charts;
  for (const Value* v : model.initializers()) {
    if (v->dtype() != DType::kFloat32 || v->initializer().rank() < 2) continue;
    if (charts.size() == kMostCharts) break;
    charts.push_back(HistogramOf("weight", v->name(), v->initializer()));
  }
  return charts;
}

absl::StatusOr<std::vector<RunReport::Chart>> GradientCharts(const std::string& run,
                                                             const OpRegistry& registry,
                                                             const recipe::Recipe& recipe,
                                                             const TrainRegistry& parts) {
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<RunSetup> setup,
                      SetUpRun(recipe, registry, nullptr, parts));
  const std::string at = JoinPath(run, "train.onnx");
  GR_RETURN_IF_ERROR(Annotate(LoadCheckpoint(at, setup->states().get()).status(), at));
  GR_ASSIGN_OR_RETURN(const std::shared_ptr<Graph> graph,
                      BuildGradientGraph(*setup->model, registry, setup->options));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                      Session::Create(graph, &registry, SessionOptions(), setup->states()));
  session->set_seed(recipe.loop().seed());
  GR_RETURN_IF_ERROR(setup->train_loader->Seek(0, 0));
  GR_ASSIGN_OR_RETURN(const Batch* batch, setup->train_loader->Next());
  std::vector<Tensor> arguments;
  ArrangeBatch(setup->data, *batch, &arguments);
  GR_RETURN_IF_ERROR(session->Run(absl::Span<const Tensor>(arguments)));
  std::vector<RunReport::Chart> charts;
  for (size_t i = 0; i < setup->graphs.parameters.size(); ++i) {
    const Tensor& gradient = session->output(static_cast<int>(i) + 1).tensor;
    if (gradient.dtype() != DType::kFloat32 || gradient.rank() < 2) continue;
    if (charts.size() == kMostCharts) break;
    charts.push_back(HistogramOf("gradient", setup->graphs.parameters[i].name, gradient));
  }
  return charts;
}

absl::StatusOr<RunReport::Chart> BoundaryChart(const Graph& model, const OpRegistry& registry,
                                               const recipe::Recipe& recipe) {
  GR_ASSIGN_OR_RETURN(
      const std::unique_ptr<Predictor> predictor,
      Predictor::Create(model, registry, recipe, recipe.data().path(), true, SessionOptions()));
  GR_ASSIGN_OR_RETURN(const Points points, ReadPoints(predictor.get()));
  ScatterChart chart;
  chart.frame = {"Decision boundary", "first input", "second input", "", 640, 560};
  ScatterChart::Regions regions;
  regions.rows = regions.columns = kCells;
  std::tie(regions.x_low, regions.x_high) = Ends(points.x);
  std::tie(regions.y_low, regions.y_high) = Ends(points.y);
  const std::shared_ptr<Graph> graph = model.Clone();
  GR_RETURN_IF_ERROR(ToInferenceForm(*graph, registry));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, Session::Create(graph, &registry));
  Dims dims = predictor->data().inputs[0].sample;
  dims.insert(dims.begin(), kCells * kCells);
  Tensor grid = Tensor::Zeros(DType::kFloat32, dims);
  for (int64_t i = 0; i < kCells * kCells; ++i) {
    const auto middle = [&](double low, double high, int64_t cell) {
      return low + (high - low) * (static_cast<double>(cell) + 0.5) / static_cast<double>(kCells);
    };
    grid.mutable_data<float>()[2 * i] =
        static_cast<float>(middle(regions.x_low, regions.x_high, i % kCells));
    grid.mutable_data<float>()[2 * i + 1] =
        static_cast<float>(middle(regions.y_low, regions.y_high, i / kCells));
  }
  GR_RETURN_IF_ERROR(session->Run(absl::Span<const Tensor>({grid})));
  const Tensor& output = session->output(0).tensor;
  const int64_t classes = output.num_elements() / (kCells * kCells);
  if (classes < 1) return UsageError("the model has no output for a sample");
  for (int64_t i = 0; i < kCells * kCells; ++i)
    regions.classes.push_back(Decision(output, i, classes, predictor->logits()));
  const int64_t groups =
      std::max<int64_t>(std::max<int64_t>(classes, 2),
                        1 + *std::max_element(points.classes.begin(), points.classes.end()));
  const std::vector<std::string>& names = predictor->data().class_names;
  for (int64_t g = 0; g < groups; ++g) {
    const auto index = static_cast<size_t>(g);
    chart.groups.push_back({index < names.size() ? names[index] : absl::StrCat(g), {}, {}});
  }
  for (size_t i = 0; i < points.x.size(); ++i) {
    ScatterChart::Group& group = chart.groups[static_cast<size_t>(points.classes[i])];
    group.x.push_back(points.x[i]);
    group.y.push_back(points.y[i]);
  }
  chart.regions = std::move(regions);
  return RunReport::Chart{"boundary", chart.ToSvg()};
}

}  // namespace graphrun::cli
