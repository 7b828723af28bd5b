// Kernels: of a plugin's own operators, and for those that graphrun has.
//
//   plugin.Add(gr::Kernel("Relu", "fast").For<float>([](auto zero, gr::Prepare& p) {
//     return [](gr::Run& r) {
//       const float* x = r.In<float>(0);
//       float* y = r.Out<float>(0);
//       r.ParallelFor(r.size(0), 4096, [=](int64_t i) { y[i] = std::max(x[i], 0.0f); });
//     };
//   }));
#pragma once

#include <functional>
#include <mutex>

#include "base.hpp"

namespace gr {

// A kernel being made. Types and sizes are known.
class Prepare : public Node {
 public:
  Prepare(const gr_node* node, gr_prepare* p) : Node(node), p_(p) {}
  // This kernel does not take the node; return an empty function then.
  void Decline() {
    host().kernel->decline(p_);
    declined_ = true;
  }
  bool declined() const { return declined_; }
  void Scratch(int64_t bytes) { Check(host().kernel->set_scratch(p_, bytes)); }
  const gr_tensor* constant(int i) { return host().kernel->constant(p_, i); }  // null: not known
  int threads() const { return host().kernel->threads(p_); }                   // of runs

 private:
  gr_prepare* p_;
  bool declined_ = false;
};

// A run of a kernel.
class Run {
 public:
  explicit Run(gr_run* r) : r_(r) {}
  // Null where left out; an output of which inference left the sizes open is null until Resize.
  const gr_tensor* input(int i) const { return host().kernel->input(r_, i); }
  const gr_tensor* output(int i) const { return host().kernel->output(r_, i); }
  int64_t size(int i) const { return Needed(i).num_elements; }  // of input i
  int64_t dim(int i, int axis) const {
    const gr_tensor& t = Needed(i);
    if (axis < 0 || axis >= t.rank)
      throw Error(GR_INTERNAL, "the kernel asks for axis " + std::to_string(axis) + " of input " +
                                   std::to_string(i));
    return t.dims[axis];
  }
  void Resize(int output, const std::vector<int64_t>& dims) {
    Check(host().kernel->resize_output(r_, output, static_cast<int32_t>(dims.size()), dims.data()));
  }
  template <typename T>
  const T* In(int i) const {
    const gr_tensor* t = input(i);
    return t == nullptr ? nullptr : static_cast<const T*>(t->data);
  }
  template <typename T>
  T* Out(int i) const {
    const gr_tensor* t = output(i);
    return t == nullptr ? nullptr : static_cast<T*>(t->data);
  }
  void* scratch() const { return host().kernel->scratch(r_); }
  uint64_t seed() const { return host().kernel->seed(r_); }
  uint64_t step() const { return host().kernel->step(r_); }

  // f(i) for each i of [0, n), by several threads where there is more than `grain` of it.
  template <typename F>
  void ParallelFor(int64_t n, int64_t grain, F f) const {
    struct Call {
      F* f;
      std::mutex mutex;
      std::exception_ptr error;
    } call{&f, {}, nullptr};
    host().kernel->parallel_for(
        n, grain,
        [](void* argument, int64_t begin, int64_t end) {
          Call& c = *static_cast<Call*>(argument);
          try {
            for (int64_t i = begin; i < end; ++i) (*c.f)(i);
          } catch (...) {
            const std::lock_guard<std::mutex> lock(c.mutex);
            c.error = std::current_exception();
          }
        },
        &call);
    if (call.error) std::rethrow_exception(call.error);
  }

 private:
  const gr_tensor& Needed(int i) const {
    const gr_tensor* t = input(i);
    if (t == nullptr) throw Error(GR_INTERNAL, "the kernel needs input " + std::to_string(i));
    return *t;
  }
  gr_run* r_;
};

using RunFunction = std::function<void(Run&)>;

// A kernel of several element types, asked before graphrun's own ones.
class Kernel {
 public:
  // For an operator of ai.onnx; Domain says another.
  Kernel(const char* op_type, const char* name) {
    raw_.struct_size = sizeof(raw_);
    raw_.op_type = op_type;
    raw_.name = name;
  }
  Kernel& Domain(const char* domain) {
    raw_.domain = domain;
    return *this;
  }
  // make(T(), prepare) gives the function that runs, for each element type of the first input (of
  // the first output where there is no input).
  template <typename... T, typename F>
  Kernel& For(F make) {
    (AddType(DTypeOf<T>::value, [make](Prepare& p) -> RunFunction { return make(T(), p); }), ...);
    return *this;
  }
  const std::vector<int32_t>& dtypes() const { return dtypes_; }

  // The table for the host; the declaration must stay where it is from now on.
  gr_kernel Freeze() {
    raw_.dtypes = dtypes_.data();
    raw_.num_dtypes = dtypes_.size();
    raw_.self = this;
    raw_.prepare = [](void* self, const gr_node* node, gr_prepare* p, void** state) {
      return Guard([&] {
        Prepare prepare(node, p);
        *state = static_cast<Kernel*>(self)->Make(prepare).release();
      });
    };
    raw_.run = [](void*, const void* state, gr_run* r) {
      return Guard([&] {
        Run run(r);
        (*static_cast<const RunFunction*>(state))(run);
      });
    };
    raw_.destroy = [](void*, void* state) { delete static_cast<RunFunction*>(state); };
    return raw_;
  }

 private:
  using Maker = std::function<RunFunction(Prepare&)>;
  void AddType(int32_t dtype, Maker make) {
    dtypes_.push_back(dtype);
    makers_.push_back(std::move(make));
  }
  // Null where the kernel declines.
  std::unique_ptr<RunFunction> Make(Prepare& prepare) const {
    const int32_t first =
        prepare.num_inputs() > 0 ? prepare.input_dtype(0) : prepare.output_dtype(0);
    for (size_t i = 0; i < dtypes_.size(); ++i) {
      if (dtypes_[i] != first) continue;
      auto run = std::make_unique<RunFunction>(makers_[i](prepare));
      if (prepare.declined()) return nullptr;
      if (!*run) throw Error(GR_INTERNAL, "the kernel gave no function, and did not decline");
      return run;
    }
    prepare.Decline();
    return nullptr;
  }

  gr_kernel raw_ = {};
  std::vector<int32_t> dtypes_;
  std::vector<Maker> makers_;  // one for each
};

}  // namespace gr
