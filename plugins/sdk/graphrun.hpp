// graphrun's plugin interface for C++17: header-only, over graphrun_plugin.h. Declarations are
// objects, gradients and updates are formulas, and exceptions end at the border.
//
//   #include <sdk/graphrun.hpp>
//
//   static void Declare(gr::Plugin& plugin) {
//     plugin.Add(gr::Operator(...)...);
//     plugin.Add(gr::Optimizer(...)...);
//   }
//   GR_CPP_PLUGIN("example", "1.0.0", "what it is for", Declare);
//
// The one exported symbol is graphrun_plugin where the library is linked by plugin.map, which lies
// beside graphrun_plugin.h: CMake's target graphrun::plugin and pkg-config's graphrun-plugin say so
// to the compiler.
#pragma once

#include "data.hpp"
#include "operator.hpp"
#include "pass.hpp"
#include "train.hpp"

namespace gr {

class Plugin {
 public:
  Plugin(const char* name, const char* version, const char* doc) {
    value_.struct_size = sizeof(value_);
    value_.name = name;
    value_.version = version;
    value_.doc = doc;
  }
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  void Add(Operator part) { operators_.Add(std::move(part)); }
  void Add(Kernel part) { kernels_.Add(std::move(part)); }
  void Add(Optimizer part) { optimizers_.Add(std::move(part)); }
  void Add(Regularizer part) { regularizers_.Add(std::move(part)); }
  void Add(Loss part) { losses_.Add(std::move(part)); }
  void Add(Schedule part) { schedules_.Add(std::move(part)); }
  void Add(Dataset part) { datasets_.Add(std::move(part)); }
  void Add(Transform part) { transforms_.Add(std::move(part)); }
  void Add(Metric part) { metrics_.Add(std::move(part)); }
  void Add(Pass part) { passes_.Add(std::move(part)); }

  const gr_plugin* Freeze() {
    operators_.Freeze(&value_.operators, &value_.num_operators);
    kernels_.Freeze(&value_.kernels, &value_.num_kernels);
    optimizers_.Freeze(&value_.optimizers, &value_.num_optimizers);
    regularizers_.Freeze(&value_.regularizers, &value_.num_regularizers);
    losses_.Freeze(&value_.losses, &value_.num_losses);
    schedules_.Freeze(&value_.schedules, &value_.num_schedules);
    datasets_.Freeze(&value_.datasets, &value_.num_datasets);
    transforms_.Freeze(&value_.transforms, &value_.num_transforms);
    metrics_.Freeze(&value_.metrics, &value_.num_metrics);
    passes_.Freeze(&value_.passes, &value_.num_passes);
    return &value_;
  }

 private:
  // Declarations at addresses that stay, and the table that the host reads.
  template <typename Part, typename Raw>
  class Table {
   public:
    void Add(Part part) { parts_.push_back(std::move(part)); }
    void Freeze(const Raw** rows, size_t* count) {
      for (Part& part : parts_) raw_.push_back(part.Freeze());
      *rows = raw_.data();
      *count = raw_.size();
    }

   private:
    std::deque<Part> parts_;
    std::vector<Raw> raw_;
  };

  gr_plugin value_ = {};
  Table<Operator, gr_operator> operators_;
  Table<Kernel, gr_kernel> kernels_;
  Table<Optimizer, gr_optimizer> optimizers_;
  Table<Regularizer, gr_regularizer> regularizers_;
  Table<Loss, gr_loss> losses_;
  Table<Schedule, gr_schedule> schedules_;
  Table<Dataset, gr_dataset> datasets_;
  Table<Transform, gr_transform> transforms_;
  Table<Metric, gr_metric> metrics_;
  Table<Pass, gr_pass> passes_;
};

// Makes the plugin's table; it lives as long as the process, where leak checkers find it.
inline gr_status* Init(const gr_host* h, const gr_plugin** out, const char* name,
                       const char* version, const char* doc, void (*declare)(Plugin&)) {
  HostPointer() = h;
  return Guard([&] {
    static auto* const made = new std::vector<std::unique_ptr<Plugin>>;
    made->push_back(std::make_unique<Plugin>(name, version, doc));
    declare(*made->back());
    *out = made->back()->Freeze();
  });
}

}  // namespace gr

#define GR_CPP_PLUGIN(name, version, doc, declare)                                      \
  static gr_status* gr_cpp_plugin_init(const gr_host* host, const gr_plugin** plugin) { \
    return gr::Init(host, plugin, name, version, doc, declare);                         \
  }                                                                                     \
  GR_PLUGIN(gr_cpp_plugin_init)
