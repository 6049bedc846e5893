#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "engine/encoder.hpp"
#include "pare/io/safetensors_reader.hpp"

namespace lab {

/// Images, and what they show.
struct LabelledImages {
  engine::ModelInputs inputs;
  std::vector<std::int64_t> labels;
};

/// Those of a file for the vision transformer `model`.
[[nodiscard]] inline LabelledImages read_images(const std::filesystem::path& path,
                                                const engine::Model& model) {
  const auto file = pare::SafetensorsReader::open(path);
  LabelledImages images{{.length = model.config.max_positions},
                        file.read_as<std::int64_t>("labels")};
  const auto values = file.read_as<float>("pixel_values");
  const pare::Index count = file.info("pixel_values").shape[0];
  images.inputs.pixels = pare::Matrix<float>({count, std::ssize(values) / count});
  std::copy(values.begin(), values.end(), images.inputs.pixels.data());
  return images;
}

/// What a model says of images: (images, classes).
[[nodiscard]] inline pare::Matrix<float> answers(const engine::Model& model,
                                                 const LabelledImages& images,
                                                 const pare::Execution& execution) {
  return engine::Encoder(model, execution).run(images.inputs).logits.at("logits");
}

/// The share of images that answers tell.
[[nodiscard]] inline double accuracy(const pare::Matrix<float>& answers,
                                     const LabelledImages& images) {
  pare::Index right = 0;
  for (pare::Index i = 0; i < answers.rows(); ++i)
    right += std::max_element(&answers(i, 0), &answers(i, 0) + answers.cols()) - &answers(i, 0) ==
             images.labels[static_cast<std::size_t>(i)];
  return static_cast<double>(right) / static_cast<double>(answers.rows());
}

/// The length of the difference of answers over that of the answers wanted.
[[nodiscard]] inline double relative_error(const pare::Matrix<float>& answers,
                                           const pare::Matrix<float>& wanted) {
  double difference = 0.0, square = 0.0;
  for (pare::Index i = 0; i < wanted.size(); ++i) {
    const auto w = static_cast<double>(wanted.data()[i]);
    difference += std::pow(static_cast<double>(answers.data()[i]) - w, 2.0);
    square += w * w;
  }
  return std::sqrt(difference / square);
}

}  // namespace lab
