// Operator: one chained declaration holds everything about an operator.
//
//   plugin.Add(gr::Operator("com.example", "Sine").Input("x").Output("y").Float("w0", 30)
//       .SameAsInput()
//       .Kernel<float, double>("native", [](auto zero, gr::Prepare& p) {
//         using T = decltype(zero);
//         const T w = static_cast<T>(p.Float("w0"));
//         return [w](gr::Run& r) {
//           const T* x = r.In<T>(0);
//           T* y = r.Out<T>(0);
//           r.ParallelFor(r.size(0), 4096, [&](int64_t i) { y[i] = std::sin(w * x[i]); });
//         };
//       })
//       .Gradient([](gr::Gradient& g) { g.dx(0, g.dy() * Cos(g.x() * g.Float("w0")) *
//       g.Float("w0")); }) .Body([](gr::Body& b) { b.y(0, Sin(b.x() * b.Float("w0"))); })
//       .Try(gr::Sample().In({3, 4})));
#pragma once

#include <functional>
#include <optional>

#include "expr.hpp"
#include "kernel.hpp"
#include "sample.hpp"

namespace gr {

// Shape inference.
class Infer : public Node {
 public:
  Infer(const gr_node* node, gr_infer* infer) : Node(node), infer_(infer) {}
  void Output(int i, int32_t dtype, const std::vector<gr_dim>& dims) {
    Check(
        host().infer->set_output(infer_, i, dtype, static_cast<int32_t>(dims.size()), dims.data()));
  }
  void UnknownOutput(int i, int32_t dtype) {
    Check(host().infer->set_output(infer_, i, dtype, -1, nullptr));
  }
  std::vector<gr_dim> dims(int i) const {
    std::vector<gr_dim> all;
    for (int a = 0; a < input_rank(i); ++a) all.push_back(input_dim(i, a));
    return all;
  }
  const gr_tensor* constant(int i) { return host().infer->constant(infer_, i); }
  // An integer input's elements as sizes, symbols included, where they are known.
  std::optional<std::vector<gr_dim>> sizes(int i) const {
    const gr_dim* first = nullptr;
    const int32_t count = host().infer->sizes(infer_, i, &first);
    if (count < 0) return std::nullopt;
    return std::vector<gr_dim>(first, first + count);
  }
  // The elements of an integer output that holds sizes.
  void SetSizes(int i, const std::vector<gr_dim>& sizes) {
    Check(host().infer->set_sizes(infer_, i, static_cast<int32_t>(sizes.size()), sizes.data()));
  }
  // NumPy's broadcast shape of inputs first..last; nothing where a rank is not known.
  std::optional<std::vector<gr_dim>> Broadcast(int first, int last) const {
    int32_t rank = -1;
    const gr_dim* dims = nullptr;
    Check(host().infer->broadcast(infer_, first, last, &rank, &dims));
    if (rank < 0) return std::nullopt;
    return std::vector<gr_dim>(dims, dims + rank);
  }

 private:
  gr_infer* infer_;
};
inline gr_dim Size(int64_t n) { return {n, nullptr}; }
inline gr_dim UnknownSize() { return {-1, nullptr}; }
// Whether two sizes can be one: both numbers and different cannot.
inline bool MayEqual(gr_dim a, gr_dim b) {
  return a.value < 0 || b.value < 0 || a.value == b.value;
}

// A gradient rule being written: given dL/dy, say dL/dx.
class Gradient : public Node {
 public:
  Gradient(const gr_node* node, gr_gradient* g)
      : Node(node), g_(g), builder_(host().gradient->builder(g)) {}
  Expr x(int i = 0) const { return {builder_, host().gradient->x(g_, i)}; }
  Expr y(int i = 0) const { return {builder_, host().gradient->y(g_, i)}; }
  Expr dy(int i = 0) const { return {builder_, host().gradient->dy(g_, i)}; }
  bool has_dy(int i) const { return host().gradient->has_dy(g_, i) != 0; }  // else dy is zeros
  gr_builder* builder() const { return builder_; }
  bool needs(int i) const { return host().gradient->needs(g_, i) != 0; }
  void dx(int i, Expr value) { host().gradient->set_dx(g_, i, value.id()); }

 private:
  gr_gradient* g_;
  gr_builder* builder_;
};

// The function body being written: the operator in terms of others.
class Body : public Node {
 public:
  Body(const gr_node* node, gr_builder* builder, const gr_expr* inputs, gr_expr* outputs)
      : Node(node), builder_(builder), inputs_(inputs), outputs_(outputs) {}
  Expr x(int i = 0) const { return {builder_, has_input(i) ? inputs_[i] : 0}; }
  void y(int i, Expr value) {
    if (has_output(i)) outputs_[i] = value.id();
  }
  gr_builder* builder() const { return builder_; }

 private:
  gr_builder* builder_;
  const gr_expr* inputs_;
  gr_expr* outputs_;
};

class Operator {
 public:
  // `domain`: your own, "com.example". `since`: the version of the domain's operator set.
  Operator(const char* domain, const char* name, int since = 1) {
    value_.struct_size = sizeof(gr_operator);
    value_.domain = domain;
    value_.name = name;
    value_.since_version = since;
  }
  Operator& Doc(const char* text) {
    value_.doc = text;
    return *this;
  }
  // Inputs and outputs are of type variable "T", which ranges over float32 and float64 and whatever
  // kernels and Types add, unless another type is said.
  Operator& Input(const char* name, const char* type = "T", int32_t arity = GR_SINGLE) {
    inputs_.push_back(Argument(name, type, arity));
    return *this;
  }
  // What a trained tensor that feeds the input added last is (GR_WEIGHT, GR_BIAS, ...).
  Operator& Role(int32_t role, int32_t unit_axis = 0) {
    if (inputs_.empty()) throw Error(GR_INTERNAL, "Role comes after the Input that it is about");
    inputs_.back().role = role;
    inputs_.back().unit_axis = unit_axis;
    return *this;
  }
  Operator& Output(const char* name, const char* type = "T", int32_t arity = GR_SINGLE) {
    outputs_.push_back(Argument(name, type, arity));
    return *this;
  }
  Operator& Types(const char* variable, std::vector<int32_t> dtypes) {
    types_.push_back({variable, std::move(dtypes)});
    return *this;
  }
  Operator& Int(const char* name, int64_t value) { return Attribute(gr::Attr(name, value), false); }
  Operator& Float(const char* name, double value) {
    return Attribute(gr::Attr(name, value), false);
  }
  Operator& String(const char* name, const char* value) {
    return Attribute(gr::Attr(name, value), false);
  }
  Operator& Ints(const char* name, gr::Ints values) {
    return Attribute(gr::Attr(name, std::move(values)), false);
  }
  Operator& Floats(const char* name, std::vector<float> values) {
    return Attribute(gr::Attr::Floats(name, std::move(values)), false);
  }
  Operator& RequiredInt(const char* name) { return Attribute(gr::Attr(name, int64_t{0}), true); }

  // Shape inference: one of the three. Errors of the model are thrown as BadInput.
  Operator& SameAsInput() {
    value_.infer_rule = GR_INFER_SAME_AS_INPUT;
    return *this;
  }
  Operator& Broadcast() {
    value_.infer_rule = GR_INFER_BROADCAST;
    return *this;
  }
  Operator& Shapes(std::function<void(Infer&)> f) {
    functions_.infer = std::move(f);
    return *this;
  }

  // As gr::Kernel::For says.
  template <typename... T, typename F>
  Operator& Kernel(const char* name, F make) {
    kernels_.emplace_back(nullptr, name);
    kernels_.back().template For<T...>(std::move(make));
    return *this;
  }
  Operator& Gradient(std::function<void(gr::Gradient&)> f) {
    functions_.gradient = std::move(f);
    return *this;
  }
  Operator& NotDifferentiable(const char* why) {
    value_.not_differentiable = why;
    return *this;
  }
  Operator& NoGradientFor(std::vector<int32_t> inputs) {
    no_gradient_for_ = std::move(inputs);
    return *this;
  }
  Operator& Body(std::function<void(gr::Body&)> f) {
    functions_.body = std::move(f);
    return *this;
  }
  Operator& InPlace(int32_t input, int32_t output) {
    in_place_.push_back({input, output});
    return *this;
  }
  Operator& Flags(uint32_t flags) {
    value_.flags = flags;
    return *this;
  }
  Operator& Try(Sample sample) {
    samples_.push_back(std::move(sample));
    return *this;
  }

  // The table for the host; the declaration must stay where it is from now on.
  gr_operator Freeze();

 private:
  struct Functions {
    std::function<void(Infer&)> infer;
    std::function<void(gr::Gradient&)> gradient;
    std::function<void(gr::Body&)> body;
  };
  struct TypeRow {
    const char* variable;
    std::vector<int32_t> dtypes;
  };

  static gr_argument Argument(const char* name, const char* type, int32_t arity) {
    gr_argument a = {};
    a.struct_size = sizeof(a);
    a.name = name;
    a.type = type;
    a.arity = arity;
    return a;
  }
  Operator& Attribute(gr::Attr attr, bool required) {
    attrs_.push_back(std::move(attr));
    required_.push_back(required);
    return *this;
  }

  gr_operator value_ = {};
  Functions functions_;
  std::vector<gr_argument> inputs_, outputs_;
  std::vector<TypeRow> types_;
  std::vector<gr::Attr> attrs_;
  std::vector<bool> required_;
  std::vector<gr::Kernel> kernels_;
  std::vector<int32_t> no_gradient_for_;
  std::vector<gr_in_place> in_place_;
  std::vector<Sample> samples_;
  // As the host wants them.
  std::vector<gr_type> raw_types_;
  std::vector<gr_attr> fallbacks_;
  std::vector<gr_attr_spec> raw_attrs_;
  std::vector<gr_kernel> raw_kernels_;
  std::vector<gr_sample> raw_samples_;
};

inline gr_operator Operator::Freeze() {
  if (types_.empty()) {
    std::vector<int32_t> dtypes;
    for (const gr::Kernel& k : kernels_) {
      for (const int32_t type : k.dtypes()) {
        bool known = false;
        for (const int32_t d : dtypes) known = known || d == type;
        if (!known) dtypes.push_back(type);
      }
    }
    if (dtypes.empty()) dtypes = {GR_FLOAT32, GR_FLOAT64};
    types_.push_back({"T", dtypes});
  }
  for (const TypeRow& t : types_) {
    raw_types_.push_back({sizeof(gr_type), t.variable, t.dtypes.data(), t.dtypes.size()});
  }
  for (const gr::Attr& a : attrs_) fallbacks_.push_back(a.get());
  for (size_t i = 0; i < attrs_.size(); ++i) {
    raw_attrs_.push_back({sizeof(gr_attr_spec), fallbacks_[i].name, fallbacks_[i].kind,
                          required_[i], required_[i] ? nullptr : &fallbacks_[i], ""});
  }
  for (gr::Kernel& k : kernels_) raw_kernels_.push_back(k.Freeze());
  for (Sample& s : samples_) raw_samples_.push_back(s.Freeze());
  value_.self = &functions_;
  if (functions_.infer) {
    value_.infer = [](void* self, const gr_node* node, gr_infer* i) {
      return Guard([&] {
        Infer infer(node, i);
        static_cast<Functions*>(self)->infer(infer);
      });
    };
  }
  if (functions_.gradient) {
    value_.gradient = [](void* self, const gr_node* node, gr_gradient* g) {
      return Guard([&] {
        gr::Gradient gradient(node, g);
        static_cast<Functions*>(self)->gradient(gradient);
      });
    };
  }
  if (functions_.body) {
    value_.body = [](void* self, const gr_node* node, gr_builder* b, const gr_expr* in,
                     gr_expr* out) {
      return Guard([&] {
        gr::Body body(node, b, in, out);
        static_cast<Functions*>(self)->body(body);
      });
    };
  }
  value_.inputs = inputs_.data();
  value_.num_inputs = inputs_.size();
  value_.outputs = outputs_.data();
  value_.num_outputs = outputs_.size();
  value_.types = raw_types_.data();
  value_.num_types = raw_types_.size();
  value_.attrs = raw_attrs_.data();
  value_.num_attrs = raw_attrs_.size();
  value_.kernels = raw_kernels_.data();
  value_.num_kernels = raw_kernels_.size();
  value_.no_gradient_for = no_gradient_for_.data();
  value_.num_no_gradient_for = no_gradient_for_.size();
  value_.in_place = in_place_.data();
  value_.num_in_place = in_place_.size();
  value_.samples = raw_samples_.data();
  value_.num_samples = raw_samples_.size();
  return value_;
}

}  // namespace gr
