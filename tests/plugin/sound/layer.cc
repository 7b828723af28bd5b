// A plugin by the C++ layer that offers one of each kind.
#include <cmath>
#include <stdexcept>

#include "plugins/sdk/graphrun.hpp"

namespace {

// y = x * factor, or the fault that the attribute names.
gr::Operator Times() {
  return gr::Operator("test.layer", "Times")
      .Doc("y = x * factor")
      .Input("x")
      .Input("factor", "T", GR_OPTIONAL)
      .Output("y")
      .String("fault", "")
      .Floats("offsets", {0, 0})
      .SameAsInput()
      .Kernel<float, double>(
          "native",
          [](auto zero, gr::Prepare& p) -> gr::RunFunction {
            using T = decltype(zero);
            const std::string fault = p.String("fault");
            if (fault == "declines") p.Decline();
            if (fault == "declines" || fault == "gives no function") return {};
            const bool reads_all = fault == "reads what is left out";
            const T offset = static_cast<T>(p.Floats("offsets").at(1));
            return [=](gr::Run& r) {
              const T factor =
                  r.input(1) == nullptr && !reads_all ? T{1} : r.In<T>(1)[r.size(1) - 1];
              const T* x = r.In<T>(0);
              T* y = r.Out<T>(0);
              r.ParallelFor(r.size(0), 1024, [=](int64_t i) { y[i] = x[i] * factor + offset; });
            };
          })
      .Gradient([](gr::Gradient& g) {
        if (g.String("fault") == "uses nothing") g.dx(0, Exp(gr::Expr()));
        g.dx(0, g.has_input(1) ? g.dy() * g.x(1) : g.dy());
        if (g.needs(1)) g.dx(1, g.dy() * g.x());
      })
      .InPlace(0, 0)
      .Try(gr::Sample().In({3, 4}).In({}))
      .Try(gr::Sample().In({5}))
      .Try(gr::Sample()
               .Values<float>({2}, {1, -2})
               .Values<float>({}, {3})
               .Known()
               .Gives<float>({2}, {3, -6}));
}

// The elements above a bound, as many as there are.
gr::Operator Above() {
  return gr::Operator("test.layer", "Above")
      .Input("x")
      .Output("y")
      .Float("bound", 0)
      .Shapes([](gr::Infer& i) { i.Output(0, i.input_dtype(0), {gr::UnknownSize()}); })
      .Kernel<float>("native",
                     [](auto, gr::Prepare& p) {
                       const double bound = p.Float("bound");
                       return [bound](gr::Run& r) {
                         std::vector<float> kept;
                         for (int64_t i = 0; i < r.size(0); ++i) {
                           if (r.In<float>(0)[i] > bound) kept.push_back(r.In<float>(0)[i]);
                         }
                         r.Resize(0, {static_cast<int64_t>(kept.size())});
                         std::copy(kept.begin(), kept.end(), r.Out<float>(0));
                       };
                     })
      .NotDifferentiable("its size depends on its values");
}

// [0, 1, ..., n - 1], of no input.
gr::Operator Count() {
  return gr::Operator("test.layer", "Count")
      .Output("y")
      .RequiredInt("n")
      .Types("T", {GR_INT32})
      .Shapes([](gr::Infer& i) { i.Output(0, GR_INT32, {gr::Size(i.Int("n"))}); })
      .Kernel<int32_t>("native",
                       [](auto, gr::Prepare&) {
                         return [](gr::Run& r) {
                           const gr_tensor& y = *r.output(0);
                           for (int64_t i = 0; i < y.num_elements; ++i)
                             r.Out<int32_t>(0)[i] = static_cast<int32_t>(i);
                         };
                       })
      .NotDifferentiable("integers")
      .Try(gr::Sample().Set({"n", 3}).Gives<int32_t>({3}, {0, 1, 2}));
}

// The shape of a and b together, as numbers.
gr::Operator SizesOf() {
  return gr::Operator("test.layer", "SizesOf")
      .Input("a")
      .Input("b")
      .Output("sizes", "int64")
      .Types("T", {GR_FLOAT32})
      .Shapes([](gr::Infer& i) {
        const auto dims = i.Broadcast(0, 1);
        if (!dims) return i.Output(0, GR_INT64, {gr::UnknownSize()});
        i.Output(0, GR_INT64, {gr::Size(static_cast<int64_t>(dims->size()))});
        i.SetSizes(0, *dims);
      })
      .Body([](gr::Body& b) { b.y(0, ShapeOf(b.x(0) + b.x(1))); });
}

// Two rows of numbers; the path says how many.
class Rows : public gr::Rows {
 public:
  explicit Rows(const gr::DatasetRequest& request) {
    if (request.path == "missing") throw gr::BadInput("there is no missing");
    num_rows = std::stoll(request.options.at("rows"));
    gr::Field x, y;
    x.name = "pair";
    x.dims = {2};
    x.range = 10;
    y.name = "rest";
    y.dtype = GR_INT64;
    y.role = GR_TARGET;
    y.classes = {"zero", "one"};
    fields = {x, y};
  }
  void Get(int64_t row, void* const* out) const override {
    if (row == 7) throw std::runtime_error("row 7 is unlucky");
    if (out[0] != nullptr) static_cast<float*>(out[0])[1] = static_cast<float>(row);
    if (out[1] != nullptr) *static_cast<int64_t*>(out[1]) = row % 2;
  }
};

class RowsSeen : public gr::Accumulator {
 public:
  void Update(const gr_tensor& prediction, const gr_tensor&, bool) override {
    if (prediction.rank == 0) throw gr::BadInput("predictions have no rows");
    rows_ += prediction.dims[0];
  }
  double Value() const override {
    if (rows_ == 0) throw std::runtime_error("nothing was seen");
    return static_cast<double>(rows_);
  }
  void Reset() override { rows_ = 0; }

 private:
  int64_t rows_ = 0;
};

void Declare(gr::Plugin& plugin) {
  plugin.Add(Times());
  plugin.Add(Above());
  plugin.Add(Count());
  plugin.Add(SizesOf());
  // Not what Sign is; only so can be seen who ran.
  plugin.Add(gr::Kernel("Sign", "layer").For<float>([](auto, gr::Prepare&) {
    return [](gr::Run& r) {
      for (int64_t i = 0; i < r.size(0); ++i) r.Out<float>(0)[i] = 7;
    };
  }));
  plugin.Add(gr::Loss("layer_mse", GR_TARGET_VALUES)
                 .Number({"scale", 1, 0, 10})
                 .Emit([](gr::LossInputs& in) {
                   return in["scale"] * ReduceMean(Square(in.output() - in.target()));
                 }));
  plugin.Add(gr::Optimizer("layer_momentum", 0.01)
                 .Doc("momentum by the C++ layer")
                 .Number({"beta", 0.9, 0, 1})
                 .Number({"slot", 0, 0, 5})
                 .Slot("velocity")
                 .Update([](gr::Update& u) {
                   gr::Expr v = u["beta"] * u.slot(static_cast<int>(u["slot"])) + u.g();
                   u.parameter(u.w() - u.lr() * v);
                   u.slot(0, v);
                 }));
  plugin.Add(gr::Regularizer("layer_l2")
                 .Number({"strength", 1, 0, 1e9})
                 .Gradient([](gr::Weight& w) { return w["strength"] * w.w(); })
                 .Penalty([](gr::Weight& w) { return w["strangth"] * ReduceSum(w.w()); })
                 .AfterUpdate([](gr::UpdatedWeight& w) { return Max(w.next(), -1.0); }));
  plugin.Add(gr::Schedule("layer_hyperbola").Number({"rate", 1}).Emit([](gr::ScheduleInputs& in) {
    return in.lr() * in.host_scale() / (1.0 + in["rate"] / in.steps_per_epoch() * in.step());
  }));
  plugin.Add(gr::Dataset("layer_rows", ".layer").Open([](const gr::DatasetRequest& request) {
    return std::unique_ptr<gr::Rows>(new Rows(request));
  }));
  plugin.Add(gr::Transform("layer_first")
                 .Number({"count", 1, 1, 100})
                 .OutputDims([](const gr::Numbers& n, const std::vector<int64_t>& dims) {
                   if (dims.empty()) throw gr::BadInput("layer_first needs an axis");
                   return std::vector<int64_t>{static_cast<int64_t>(n["count"])};
                 })
                 .Apply([](const gr::Numbers& n, gr::Random&, double range,
                           const std::vector<int64_t>&, const float* x, float* y) {
                   for (int i = 0; i < static_cast<int>(n["count"]); ++i)
                     y[i] = x[i] / static_cast<float>(range);
                 }));
  plugin.Add(gr::Transform("layer_swap")
                 .ApplyBatch([](const gr::Numbers&, gr::Random&,
                                const std::vector<gr::BatchField>& fields) {
                   for (const gr::BatchField& f : fields) {
                     if (f.role != GR_FEATURE || f.rows() < 2) continue;
                     for (int64_t i = 0; i < f.row_size(); ++i)
                       std::swap(f.row<float>(0)[i], f.row<float>(1)[i]);
                   }
                 }));
  plugin.Add(gr::Metric("layer_rows_seen", true).Create([] {
    return std::unique_ptr<gr::Accumulator>(new RowsSeen);
  }));
  plugin.Add(gr::Pass("layer-exp-of-log", GR_PASS_CANONICAL).Run([](gr::Graph& g) {
    for (int i = 0; i < g.num_nodes(); ++i) {
      const gr::GraphNode exp = g.node(i), log = exp.producer(0);
      if (!exp.Is("Exp") || !log.Is("Log") || log.num_uses() != 1) continue;
      const gr::Place at = g.Before(exp);
      at.Replace(exp, 0, Identity(at.Input(log, 0)));
    }
    // A node that is not there says so.
    if (g.num_nodes() > 0 && g.node(0).Is("Tan")) g.node(0).producer(0).num_uses();
  }));
}

}  // namespace

GR_CPP_PLUGIN("layer", "1.0", "one of each kind", Declare);
