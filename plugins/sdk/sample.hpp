// Sample: what the conformance test tries an operator on.
#pragma once

#include <type_traits>

#include "base.hpp"

namespace gr {

// Inputs and attributes on which the conformance test tries the operator.
class Sample {
 public:
  // From N(0, 1), or uniform in [low, high): keep away from kinks and ties.
  Sample& In(Ints dims) { return Add(GR_FILL_NORMAL, std::move(dims), 0, 1); }
  Sample& In(Ints dims, double low, double high) {
    return Add(GR_FILL_UNIFORM, std::move(dims), low, high);
  }
  Sample& None() { return Add(GR_FILL_OMITTED, {}, 0, 1); }  // an input that is left out
  // These elements; floats take the element type under test.
  template <typename T>
  Sample& Values(Ints dims, std::vector<T> values) {
    Add(GR_FILL_TENSOR, dims, 0, 1);
    tensors_.back() = std::make_shared<Elements<T>>(std::move(dims), std::move(values));
    return *this;
  }
  // The input added last is known when the plan is made.
  Sample& Known() {
    if (inputs_.empty()) throw Error(GR_INTERNAL, "Known comes after the input that it is about");
    inputs_.back().constant = 1;
    return *this;
  }
  Sample& Set(gr::Attr attr) {
    attrs_.push_back(std::move(attr));
    return *this;
  }
  Sample& Outputs(int n) {
    value_.num_outputs = n;
    return *this;
  }
  Sample& NoGradient(const char* why) {
    value_.no_gradient = why;
    return *this;
  }
  Sample& NoCompare(const char* why) {  // of results: they are random
    value_.no_compare = why;
    return *this;
  }
  // Output 0 must be this.
  template <typename T>
  Sample& Gives(Ints dims, std::vector<T> values) {
    gives_ = std::make_shared<Elements<T>>(std::move(dims), std::move(values));
    return *this;
  }
  Sample& Refused(const char* words) {  // inference must fail with them
    value_.refused = words;
    return *this;
  }
  gr_sample Freeze() {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      inputs_[i].dims = dims_[i].data();
      inputs_[i].rank = static_cast<int32_t>(dims_[i].size());
      if (tensors_[i] != nullptr) inputs_[i].tensor = &tensors_[i]->raw;
    }
    if (gives_ != nullptr) value_.gives = &gives_->raw;
    for (const Attr& a : attrs_) raw_attrs_.push_back(a.get());
    value_.struct_size = sizeof(gr_sample);
    value_.inputs = inputs_.data();
    value_.num_inputs = inputs_.size();
    value_.attrs = raw_attrs_.data();
    value_.num_attrs = raw_attrs_.size();
    return value_;
  }

 private:
  struct Held {
    virtual ~Held() = default;
    gr_tensor raw = {};
  };
  template <typename T>
  struct Elements : Held {
    static_assert(!std::is_same<T, bool>::value, "std::vector<bool> has no elements in memory");
    Elements(Ints d, std::vector<T> v) : dims(std::move(d)), values(std::move(v)) {
      int64_t count = 1;
      for (const int64_t n : dims) count *= n;
      if (count != static_cast<int64_t>(values.size()))
        throw Error(GR_INTERNAL, "a sample's sizes and its elements do not agree");
      raw = {sizeof(gr_tensor),
             DTypeOf<T>::value,
             static_cast<int32_t>(dims.size()),
             dims.data(),
             count,
             values.data()};
    }
    Ints dims;
    std::vector<T> values;
  };
  Sample& Add(int32_t fill, Ints dims, double low, double high) {
    gr_sample_input input = {};
    input.struct_size = sizeof(input);
    input.fill = fill;
    input.low = low;
    input.high = high;
    inputs_.push_back(input);
    dims_.push_back(std::move(dims));
    tensors_.emplace_back();
    return *this;
  }
  gr_sample value_ = {};
  std::vector<gr_sample_input> inputs_;
  std::vector<Ints> dims_;
  std::vector<std::shared_ptr<Held>> tensors_;  // of inputs; null where they are drawn
  std::shared_ptr<Held> gives_;
  std::vector<Attr> attrs_;
  std::vector<gr_attr> raw_attrs_;
};

}  // namespace gr
