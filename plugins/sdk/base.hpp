// What every part of the C++ layer stands on: the host, errors, names, attributes.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <initializer_list>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../graphrun_plugin.h"

namespace gr {

using Ints = std::vector<int64_t>;

// The host's functions; there once the plugin is being declared.
inline const gr_host*& HostPointer() {
  static const gr_host* host = nullptr;
  return host;
}
inline const gr_host& host() { return *HostPointer(); }

// What a plugin throws; the code is one of GR_INVALID_ARGUMENT ... It becomes a gr_status at the
// border.
class Error : public std::runtime_error {
 public:
  Error(int32_t code, const std::string& message) : std::runtime_error(message), code_(code) {}
  int32_t code() const { return code_; }

 private:
  int32_t code_;
};
// The model or the data are to blame, not the plugin.
inline Error BadInput(const std::string& message) { return Error(GR_INVALID_ARGUMENT, message); }

// Throws the error that a function of the host gave.
inline void Check(gr_status* status) {
  if (status == nullptr) return;
  Error error(host().error_code(status), host().error_message(status));
  host().error_free(status);
  throw error;
}

// Calls f; what it throws becomes a gr_status.
template <typename F>
gr_status* Guard(F&& f) noexcept {
  try {
    f();
    return nullptr;
  } catch (const Error& e) {
    return host().error(e.code(), e.what());
  } catch (const std::bad_alloc&) {
    return host().error(GR_RESOURCE_EXHAUSTED, "out of memory");
  } catch (const std::exception& e) {
    return host().error(GR_INTERNAL, e.what());
  } catch (...) {
    return host().error(GR_UNKNOWN, "an exception that is no std::exception");
  }
}

// The element type of T.
template <typename T>
struct DTypeOf;
#define GR_DTYPE(type, number)               \
  template <>                                \
  struct DTypeOf<type> {                     \
    static constexpr int32_t value = number; \
  };
GR_DTYPE(float, GR_FLOAT32)
GR_DTYPE(double, GR_FLOAT64)
GR_DTYPE(int8_t, GR_INT8)
GR_DTYPE(int16_t, GR_INT16)
GR_DTYPE(int32_t, GR_INT32)
GR_DTYPE(int64_t, GR_INT64)
GR_DTYPE(uint8_t, GR_UINT8)
GR_DTYPE(uint16_t, GR_UINT16)
GR_DTYPE(uint32_t, GR_UINT32)
GR_DTYPE(uint64_t, GR_UINT64)
GR_DTYPE(bool, GR_BOOL)
#undef GR_DTYPE

// An attribute: Attr("w0", 30.0), Attr("axes", {0, 1}), Attr("mode", "linear"),
// Attr::Floats("scales", {1, 2}).
class Attr {
 public:
  Attr(const char* name, int value) : Attr(name, static_cast<int64_t>(value)) {}
  Attr(const char* name, int64_t value) : Attr(name, Kind{GR_ATTR_INT}) { attr_.i = value; }
  Attr(const char* name, double value) : Attr(name, Kind{GR_ATTR_FLOAT}) { attr_.f = value; }
  Attr(const char* name, const char* value) : Attr(name, Kind{GR_ATTR_STRING}) {
    text_ = std::make_shared<std::string>(value);
    attr_.s = text_->c_str();
  }
  Attr(const char* name, std::vector<int64_t> values) : Attr(name, Kind{GR_ATTR_INTS}) {
    ints_ = std::make_shared<std::vector<int64_t>>(std::move(values));
    attr_.ints = ints_->data();
    attr_.count = ints_->size();
  }
  static Attr Floats(const char* name, std::vector<float> values) {
    Attr attr(name, Kind{GR_ATTR_FLOATS});
    attr.floats_ = std::make_shared<std::vector<float>>(std::move(values));
    attr.attr_.floats = attr.floats_->data();
    attr.attr_.count = attr.floats_->size();
    return attr;
  }
  const gr_attr& get() const { return attr_; }

 private:
  struct Kind {
    int32_t number;
  };
  Attr(const char* name, Kind kind) {
    attr_ = {};
    attr_.struct_size = sizeof(gr_attr);
    attr_.name = name;
    attr_.kind = kind.number;
  }
  gr_attr attr_;
  std::shared_ptr<std::string> text_;
  std::shared_ptr<std::vector<int64_t>> ints_;
  std::shared_ptr<std::vector<float>> floats_;
};

// A hyper-parameter that a recipe may set; `low` and `high` are allowed themselves. Both 0: any
// number.
struct Number {
  const char* name;
  double value;  // where a recipe gives none
  double low = 0, high = 0;
  const char* doc = "";
};

// Numbers as functions receive them, asked by name.
class Numbers {
 public:
  Numbers(const std::vector<Number>* declared, const double* values)
      : declared_(declared), values_(values) {}
  double operator[](const char* name) const {
    for (size_t i = 0; i < declared_->size(); ++i) {
      if (std::string(name) == (*declared_)[i].name) return values_[i];
    }
    throw Error(GR_INTERNAL, std::string("the plugin declares no number \"") + name + "\"");
  }

 private:
  const std::vector<Number>* declared_;
  const double* values_;
};

inline std::vector<gr_parameter> Parameters(const std::vector<Number>& numbers) {
  std::vector<gr_parameter> out;
  for (const Number& n : numbers)
    out.push_back({sizeof(gr_parameter), n.name, n.value, n.low, n.high, n.doc});
  return out;
}

// What every declaration begins with: its table for the host, its name, a text about it.
template <typename Part, typename Raw>
class Declaration {
 public:
  Part& Doc(const char* text) {
    raw_.doc = text;
    return part();
  }

 protected:
  explicit Declaration(const char* name) {
    raw_.struct_size = sizeof(Raw);
    raw_.name = name;
  }
  Part& part() { return static_cast<Part&>(*this); }
  Raw raw_ = {};
};

// The same with numbers that a recipe may set.
template <typename Part, typename Raw>
class NumberedDeclaration : public Declaration<Part, Raw> {
 public:
  Part& Number(gr::Number number) {
    numbers_.push_back(number);
    return this->part();
  }

 protected:
  using Declaration<Part, Raw>::Declaration;
  // Points the table at the numbers; the declaration must stay where it is from now on.
  void FreezeNumbers() {
    parameters_ = Parameters(numbers_);
    this->raw_.params = parameters_.data();
    this->raw_.num_params = parameters_.size();
    this->raw_.self = &this->part();
  }
  std::vector<gr::Number> numbers_;

 private:
  std::vector<gr_parameter> parameters_;
};

// A node's attributes and types. Inputs, outputs and axes that are not there: no type, rank -1,
// size -1.
class Node {
 public:
  explicit Node(const gr_node* node) : node_(node) {}
  std::string name() const { return host().node->name(get()); }
  std::string op_type() const { return host().node->op_type(get()); }
  std::string domain() const { return host().node->domain(get()); }  // "": ai.onnx
  bool has_attr(const char* attr) const { return host().node->attr_kind(get(), attr) != 0; }
  int64_t Int(const char* attr, int64_t otherwise = 0) const {
    return host().node->attr_int(get(), attr, otherwise);
  }
  double Float(const char* attr, double otherwise = 0) const {
    return host().node->attr_float(get(), attr, otherwise);
  }
  std::string String(const char* attr, const char* otherwise = "") const {
    return host().node->attr_string(get(), attr, otherwise);
  }
  std::vector<int64_t> Ints(const char* attr) const {
    size_t count = 0;
    const int64_t* values = host().node->attr_ints(get(), attr, &count);
    return std::vector<int64_t>(values, values + count);
  }
  std::vector<float> Floats(const char* attr) const {
    size_t count = 0;
    const float* values = host().node->attr_floats(get(), attr, &count);
    return std::vector<float>(values, values + count);
  }
  std::vector<std::string> Strings(const char* attr) const {
    size_t count = 0;
    const char* const* values = host().node->attr_strings(get(), attr, &count);
    return std::vector<std::string>(values, values + count);
  }
  const gr_tensor* Tensor(const char* attr) const { return host().node->attr_tensor(get(), attr); }
  int num_inputs() const { return host().node->num_inputs(get()); }
  int num_outputs() const { return host().node->num_outputs(get()); }
  bool has_input(int i) const { return host().node->has_input(get(), i) != 0; }
  bool has_output(int i) const { return host().node->has_output(get(), i) != 0; }
  int32_t input_dtype(int i) const { return host().node->input_dtype(get(), i); }
  int input_rank(int i) const { return host().node->input_rank(get(), i); }  // -1: unknown
  gr_dim input_dim(int i, int axis) const { return host().node->input_dim(get(), i, axis); }
  int32_t output_dtype(int i) const { return host().node->output_dtype(get(), i); }
  int output_rank(int i) const { return host().node->output_rank(get(), i); }
  gr_dim output_dim(int i, int axis) const { return host().node->output_dim(get(), i, axis); }
  // The sizes of an input; where a kernel is prepared they are all known.
  std::vector<int64_t> input_dims(int i) const {
    std::vector<int64_t> dims;
    for (int a = 0; a < input_rank(i); ++a) dims.push_back(input_dim(i, a).value);
    return dims;
  }
  const gr_node* get() const {
    if (node_ == nullptr) throw Error(GR_INTERNAL, "a node that is not there was asked something");
    return node_;
  }

 protected:
  const gr_node* node_;
};

}  // namespace gr
