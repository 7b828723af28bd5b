// A plugin from the C++ layer: twins of the optimizer momentum and of the regularizer l2.
#include <sdk/graphrun.hpp>

static void Declare(gr::Plugin& plugin) {
  plugin.Add(gr::Optimizer("twin_momentum", 0.01)
                 .Number({"beta", 0.9, 0, 0.999999})
                 .Slot("velocity")
                 .Update([](gr::Update& u) {
                   gr::Expr v = u["beta"] * u.slot(0) + u.g();
                   u.parameter(u.w() - u.lr() * v);
                   u.slot(0, v);
                 }));
  plugin.Add(
      gr::Regularizer("twin_l2").Number({"strength", 0, 0, 1e30}).Gradient([](gr::Weight& weight) {
        return weight["strength"] * weight.w();
      }));
}

GR_CPP_PLUGIN("twin_train", "1.0.0", "twins of momentum and l2", Declare);
