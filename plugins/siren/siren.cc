// Sine, the activation of SIREN networks: y = sin(w0 x). Sitzmann et al. (arXiv:2006.09661).
#include <cmath>

#include "sdk/graphrun.hpp"

static void Declare(gr::Plugin& plugin) {
  plugin.Add(gr::Operator("graphrun.siren", "Sine")
                 .Doc("y = sin(w0 x)")
                 .Input("x")
                 .Output("y")
                 .Float("w0", 1)
                 .SameAsInput()
                 .Kernel<float, double>("native",
                                        [](auto zero, gr::Prepare& p) {
                                          using T = decltype(zero);
                                          const T w0 = static_cast<T>(p.Float("w0"));
                                          return [w0](gr::Run& r) {
                                            const T* x = r.In<T>(0);
                                            T* y = r.Out<T>(0);
                                            r.ParallelFor(r.size(0), 4096, [=](int64_t i) {
                                              y[i] = std::sin(w0 * x[i]);
                                            });
                                          };
                                        })
                 // dx = dy w0 cos(w0 x)
                 .Gradient([](gr::Gradient& g) {
                   const double w0 = g.Float("w0");
                   g.dx(0, g.dy() * (w0 * Cos(w0 * g.x())));
                 })
                 .Body([](gr::Body& b) { b.y(0, Sin(b.Float("w0") * b.x())); })
                 .InPlace(0, 0)
                 .Try(gr::Sample().In({3, 4}))
                 .Try(gr::Sample().In({5}).Set({"w0", 30.0}))
                 .Try(gr::Sample().In({}))
                 .Try(gr::Sample().In({2, 0})));
}

GR_CPP_PLUGIN("siren", "1.0.0", "the activation of SIREN networks", Declare);
