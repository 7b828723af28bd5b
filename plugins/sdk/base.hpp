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

template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr int32_t value = GR_FLOAT32;
};
template <>
struct DTypeOf<double> {
  static constexpr int32_t value = GR_FLOAT64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr int32_t value = GR_INT32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr int32_t value = GR_INT64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr int32_t value = GR_UINT8;
};

// Strings that live as long as the declaration that they are in.
class Names {
 public:
  const char* Keep(std::string text) {
    texts_.push_back(std::move(text));
    return texts_.back().c_str();
  }

 private:
  std::deque<std::string> texts_;
};

// An attribute: Attr("w0", 30.0), Attr("axes", {0, 1}), Attr("mode", "linear").
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

// A node's attributes and types.
class Node {
 public:
  explicit Node(const gr_node* node) : node_(node) {}
  int64_t Int(const char* name, int64_t otherwise = 0) const {
    return host().node->attr_int(node_, name, otherwise);
  }
  double Float(const char* name, double otherwise = 0) const {
    return host().node->attr_float(node_, name, otherwise);
  }
  std::string String(const char* name, const char* otherwise = "") const {
    return host().node->attr_string(node_, name, otherwise);
  }
  std::vector<int64_t> Ints(const char* name) const {
    size_t count = 0;
    const int64_t* values = host().node->attr_ints(node_, name, &count);
    return std::vector<int64_t>(values, values + count);
  }
  int num_inputs() const { return host().node->num_inputs(node_); }
  bool has_input(int i) const { return host().node->has_input(node_, i) != 0; }
  int32_t input_dtype(int i) const { return host().node->input_dtype(node_, i); }
  int input_rank(int i) const { return host().node->input_rank(node_, i); }  // -1: unknown
  gr_dim input_dim(int i, int axis) const { return host().node->input_dim(node_, i, axis); }
  // The sizes of an input; where a kernel is prepared they are all known.
  std::vector<int64_t> input_dims(int i) const {
    std::vector<int64_t> dims;
    for (int a = 0; a < input_rank(i); ++a) dims.push_back(input_dim(i, a).value);
    return dims;
  }
  const gr_node* get() const { return node_; }

 private:
  const gr_node* node_;
};

}  // namespace gr
