// Sample: inputs and attributes on which the conformance test tries an operator.
#pragma once

#include <string>
#include <vector>

#include "runtime/base/tensor.h"
#include "runtime/ir/graph.h"

namespace graphrun {

// Sample().In({2, 3}).In({3}).Attr("axis", 1): inputs in order; floats are drawn from N(0, 1) by a
// fixed generator.
class Sample {
 public:
  enum class Fill { kNormal, kUniform, kTensor, kOmitted, kDatum };
  struct Input {
    Fill fill = Fill::kNormal;
    Dims dims;
    double low = 0, high = 1;
    Tensor tensor;
    bool constant = false;
    Datum datum;  // kDatum
  };
  // A random input from N(0, 1), of the sample's element type.
  Sample& In(Dims dims) {
    inputs_.push_back({Fill::kNormal, std::move(dims), 0, 1, {}, false, {}});
    return *this;
  }
  // Uniform in [low, high): keep away from kinks, poles and ties where gradients are compared.
  Sample& In(Dims dims, double low, double high) {
    inputs_.push_back({Fill::kUniform, std::move(dims), low, high, {}, false, {}});
    return *this;
  }
  // Exactly this tensor. float32 tensors take the sample's element type; others stay as they are
  // and are constant.
  Sample& In(Tensor tensor) {
    const bool constant = tensor.dtype() != DType::kFloat32;
    inputs_.push_back({Fill::kTensor, tensor.dims(), 0, 1, std::move(tensor), constant, {}});
    return *this;
  }
  // A sequence or an optional, as it is.
  Sample& Container(Datum datum) {
    inputs_.push_back({Fill::kDatum, {}, 0, 1, {}, false, std::move(datum)});
    return *this;
  }
  Sample& None() {
    inputs_.push_back({Fill::kOmitted, {}, 0, 1, {}, false, {}});
    return *this;
  }
  // The input added last is an initializer, known when the plan is made.
  Sample& Constant() {
    inputs_.back().constant = true;
    return *this;
  }
  // The input added last varies although it is not a float (so that kernels see it only at run
  // time).
  Sample& Variable() {
    inputs_.back().constant = false;
    return *this;
  }
  Sample& Attr(std::string name, graphrun::Attr value) {
    attrs_.insert_or_assign(std::move(name), std::move(value));
    return *this;
  }
  Sample& Outputs(int n) {
    num_outputs_ = n;
    return *this;
  }
  // The gradient is not compared on this sample (a kink, a tie, an integer result). Say why.
  Sample& NoGradient(std::string why) {
    no_gradient_ = std::move(why);
    return *this;
  }
  // Results are not compared between kernels or with the body (random operators). Say why.
  Sample& NoCompare(std::string why) {
    no_compare_ = std::move(why);
    return *this;
  }
  // Inference or preparation must fail with a message that contains `words`.
  Sample& Refused(std::string words) {
    refused_ = std::move(words);
    return *this;
  }
  // Output 0 must be this (float32 compared with the usual tolerance, others exactly).
  Sample& Gives(Tensor expected) {
    expected_.push_back(std::move(expected));
    return *this;
  }

  const std::vector<Input>& inputs() const { return inputs_; }
  const AttrMap& attrs() const { return attrs_; }
  int num_outputs() const { return num_outputs_; }
  const std::string& no_gradient() const { return no_gradient_; }
  const std::string& no_compare() const { return no_compare_; }
  const std::string& refused() const { return refused_; }
  const std::vector<Tensor>& expected() const { return expected_; }
  // The inputs' tensors with floats in `dtype`; undefined tensors for those left out and
  // for containers.
  // Deterministic.
  std::vector<Tensor> Materialize(DType dtype) const;

 private:
  std::vector<Input> inputs_;
  AttrMap attrs_;
  int num_outputs_ = 1;
  std::string no_gradient_, no_compare_, refused_;
  std::vector<Tensor> expected_;
};

}  // namespace graphrun
