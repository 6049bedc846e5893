#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "pare/io/safetensors_reader.hpp"

namespace pare::test {

/// What other people's code answers: tests/data/distillation.safetensors. Inputs are float, results
/// were computed in double by PyTorch's autograd. A case has
///
///     meta(CASE)               its options, its source, and which tensor is which argument
///     input(CASE, "zs")        an argument of it
///     loss(CASE)               the value
///     gradient(CASE, "zs")     the derivative of that with respect to an argument
class DistillationOracle {
 public:
  [[nodiscard]] nlohmann::json meta(const std::string& name) const {
    return nlohmann::json::parse(file_.metadata().at(name));
  }

  /// A tensor by its name in the file, of float or double, which is converted to T.
  template <class T, std::size_t Rank = 2>
  [[nodiscard]] Tensor<T, Rank> tensor(const std::string& name) const {
    const TensorInfo& info = file_.info(name);
    if (info.shape.size() != Rank)
      throw ShapeError(name + " has rank " + std::to_string(info.shape.size()));
    Shape<Rank> shape{};
    std::copy(info.shape.begin(), info.shape.end(), shape.begin());
    Tensor<T, Rank> t(shape);
    const auto fill = [&](const auto& elements) {
      std::transform(elements.begin(), elements.end(), t.data(),
                     [](auto v) { return static_cast<T>(v); });
    };
    if (info.dtype == DType::F64)
      fill(file_.read_as<double>(name));
    else
      fill(file_.read_as<float>(name));
    return t;
  }

  template <class T, std::size_t Rank = 2>
  [[nodiscard]] Tensor<T, Rank> input(const std::string& name, const std::string& argument) const {
    return tensor<T, Rank>(name_of(name, argument));
  }
  /// Labels, masks, indices.
  [[nodiscard]] std::vector<Index> indices(const std::string& name,
                                           const std::string& argument) const {
    const auto values = file_.read_as<std::int64_t>(name_of(name, argument));
    return {values.begin(), values.end()};
  }

  [[nodiscard]] double loss(const std::string& name) const {
    return file_.read_as<double>(name + ".loss").at(0);
  }
  template <std::size_t Rank = 2>
  [[nodiscard]] Tensor<double, Rank> gradient(const std::string& name,
                                              const std::string& argument) const {
    return tensor<double, Rank>(name + ".grad." + argument);
  }

  /// Of a result computed from inputs of type T, relative to the largest entry of its tensor.
  template <class T>
  [[nodiscard]] double tolerance(const std::string& name) const {
    const std::string source = meta(name).at("source");
    return std::is_same_v<T, float> || source.find("float32") != std::string::npos ? 1e-4 : 1e-6;
  }

 private:
  [[nodiscard]] std::string name_of(const std::string& name, const std::string& argument) const {
    return meta(name).at("inputs").at(argument);
  }

  SafetensorsReader file_ =
      SafetensorsReader::open(std::string(PARE_TEST_DATA_DIR) + "/distillation.safetensors");
};

/// max |actual - expected| / max |expected|; 0 where they are equal, infinity where the shapes
/// differ or one is NaN.
template <class T, std::size_t Rank>
[[nodiscard]] double error_of_largest(const Tensor<T, Rank>& actual,
                                      const Tensor<double, Rank>& expected) {
  if (actual.shape() != expected.shape()) return std::numeric_limits<double>::infinity();
  double largest = 0.0, difference = 0.0;
  for (Index i = 0; i < expected.size(); ++i) {
    const double d = std::fabs(static_cast<double>(actual.data()[i]) - expected.data()[i]);
    if (!(d < HUGE_VAL)) return HUGE_VAL;
    difference = std::max(difference, d);
    largest = std::max(largest, std::fabs(expected.data()[i]));
  }
  return difference == 0.0 ? 0.0 : difference / largest;
}

/// The derivative of `value(x)` with respect to each element of x by central differences.
template <std::size_t Rank, class F>
[[nodiscard]] Tensor<double, Rank> central_differences(const F& value, Tensor<double, Rank> x,
                                                       double step = 1e-5) {
  Tensor<double, Rank> gradient(x.shape());
  for (Index i = 0; i < x.size(); ++i) {
    double& element = x.data()[i];
    const double at = element;
    element = at + step;
    const double above = value(x);
    element = at - step;
    const double below = value(x);
    element = at;
    gradient.data()[i] = (above - below) / (2.0 * step);
  }
  return gradient;
}

}  // namespace pare::test
