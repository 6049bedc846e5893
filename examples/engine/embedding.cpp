#include "engine/embedding.hpp"

#include <algorithm>
#include <string>

#include "engine/elementwise.hpp"
#include "pare/core/error.hpp"

namespace engine {
namespace {

/// A row of a table; `what` names the index in the message of an error.
const float* row_of(const pare::Matrix<float>& table, Index row, const char* what, Index t) {
  if (row < 0 || row >= table.rows())
    throw pare::ArgumentError(
        std::string(what) + " " + std::to_string(t) + " is " + std::to_string(row) +
        ", outside the " +
        (what == std::string_view("token") ? "vocabulary of " : "model's first ") +
        std::to_string(table.rows()));
  return &table(row, 0);
}

}  // namespace

pare::Matrix<float> Embedding::rows(std::span<const std::int32_t> ids, Index first,
                                    Index period) const {
  const Index last = first + std::min(period, std::ssize(ids));
  if (!positions.empty() && last > positions.rows())
    throw pare::ArgumentError("a text of " + std::to_string(last) + " tokens exceeds the " +
                              std::to_string(positions.rows()) + " positions of the model");
  pare::Matrix<float> x({std::ssize(ids), tokens.cols()});
  for (Index t = 0; t < x.rows(); ++t) {
    std::copy_n(row_of(tokens, ids[static_cast<std::size_t>(t)], "token", t), x.cols(), &x(t, 0));
    if (scale != 1.0f)
      for (Index i = 0; i < x.cols(); ++i) x(t, i) *= scale;
    if (!positions.empty()) add(&positions(first + t % period, 0), &x(t, 0), x.cols());
  }
  return x;
}

pare::Matrix<float> Embedding::rows(const ModelInputs& inputs,
                                    const pare::Execution& execution) const {
  if (image) return patches(inputs.pixels, execution);
  if (!pad_token && types.empty() && norm.empty()) return rows(inputs.ids, 0, inputs.length);
  pare::Matrix<float> x({inputs.tokens(), tokens.cols()});
  Index real = 0;  // of this sequence so far
  for (Index t = 0; t < x.rows(); ++t) {
    const auto i = static_cast<std::size_t>(t);
    const Index id = inputs.ids[i];
    if (t % inputs.length == 0) real = 0;
    Index position = t % inputs.length;
    if (pad_token) position = *pad_token + (id == *pad_token ? 0 : ++real);
    std::copy_n(row_of(tokens, id, "token", t), x.cols(), &x(t, 0));
    if (!positions.empty()) add(row_of(positions, position, "position", t), &x(t, 0), x.cols());
    if (!types.empty())
      add(row_of(types, inputs.types.empty() ? 0 : inputs.types[i], "token type", t), &x(t, 0),
          x.cols());
  }
  if (!norm.empty()) apply_norm(norm_description, norm, x, x, execution);
  return x;
}

pare::Matrix<float> Embedding::patches(const pare::Matrix<float>& pixels,
                                       const pare::Execution& execution) const {
  const Index side = image->size, patch = image->patch, across = side / patch;
  const Index count = image->patches(), leading = image->tokens() - count;
  if (pixels.cols() != image->pixels())
    throw pare::ArgumentError("an image has " + std::to_string(pixels.cols()) +
                              " values, the model wants " + std::to_string(image->channels) +
                              " channels of " + std::to_string(side) + " x " +
                              std::to_string(side));
  pare::Matrix<float> flat({pixels.rows() * count, image->channels * patch * patch});
  for (Index n = 0; n < pixels.rows(); ++n)
    for (Index p = 0; p < count; ++p) {
      float* to = &flat(n * count + p, 0);
      const Index top = p / across * patch, left = p % across * patch;
      for (Index c = 0; c < image->channels; ++c)
        for (Index y = 0; y < patch; ++y, to += patch)
          std::copy_n(&pixels(n, (c * side + top + y) * side + left), patch, to);
    }
  const pare::Matrix<float> projected = projection.forward(flat, execution);
  pare::Matrix<float> x({pixels.rows() * image->tokens(), projected.cols()});
  for (Index t = 0; t < x.rows(); ++t) {
    const Index n = t / image->tokens(), position = t % image->tokens();
    // Learned tokens are rows of `tokens`.
    const float* from =
        position < leading ? &tokens(position, 0) : &projected(n * count + position - leading, 0);
    std::copy_n(from, x.cols(), &x(t, 0));
    add(&positions(position, 0), &x(t, 0), x.cols());
  }
  return x;
}

}  // namespace engine
