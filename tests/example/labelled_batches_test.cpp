#include "training/labelled_batches.hpp"

#include <map>

#include "support/catch.hpp"

using namespace pare;

TEST_CASE("labelled batches go through all inputs, each with its label") {
  // Input i is filled with i, and its label is i % 3.
  engine::ModelInputs tokens{.length = 4}, images{.length = 2};
  std::vector<std::int64_t> labels;
  images.pixels = Matrix<float>({7, 5});
  for (std::int32_t i = 0; i < 7; ++i) {
    labels.push_back(i % 3);
    for (int t = 0; t < 4; ++t) {
      tokens.ids.push_back(i);
      tokens.visible.push_back(static_cast<std::uint8_t>(t < 2));
    }
    for (Index j = 0; j < 5; ++j) images.pixels(i, j) = static_cast<float>(i);
  }
  for (const Index size : {Index{1}, Index{3}, Index{7}, Index{20}}) {
    CAPTURE(size);
    const training::LabelledBatches of_tokens(tokens, labels, 3, size, 5);
    const training::LabelledBatches of_images(images, labels, 3, size, 5);
    std::map<std::int32_t, int> seen;
    const std::int64_t batches = 21;
    for (std::int64_t number = 0; number < batches; ++number) {
      const training::LabelledBatch batch = of_tokens.at(number), image = of_images.at(number);
      REQUIRE(batch.inputs.count() == size);
      REQUIRE(image.inputs.count() == size);
      CHECK(batch.inputs.types.empty());
      CHECK(batch.labels == image.labels);
      for (Index i = 0; i < size; ++i) {
        const std::int32_t input = batch.inputs.ids[static_cast<std::size_t>(4 * i)];
        ++seen[input];
        CHECK(batch.labels[static_cast<std::size_t>(i)] == input % 3);
        CHECK(batch.inputs.ids[static_cast<std::size_t>(4 * i + 3)] == input);
        CHECK(batch.inputs.visible[static_cast<std::size_t>(4 * i + 1)] == 1);
        CHECK(batch.inputs.visible[static_cast<std::size_t>(4 * i + 2)] == 0);
        CHECK(image.inputs.pixels(i, 4) == static_cast<float>(input));
      }
    }
    // 21 batches are whole epochs.
    for (std::int32_t i = 0; i < 7; ++i) CHECK(seen[i] == 3 * size);
    CHECK(of_tokens.at(4).inputs.ids == of_tokens.at(4).inputs.ids);
  }
  const training::LabelledBatches one(tokens, labels, 3, 7, 5), other(tokens, labels, 3, 7, 6);
  CHECK(one.at(0).inputs.ids != one.at(1).inputs.ids);
  CHECK(one.at(0).inputs.ids != other.at(0).inputs.ids);
  CHECK(one.at(1).inputs.ids != other.at(0).inputs.ids);
}

TEST_CASE("inputs that cannot be trained on are refused") {
  engine::ModelInputs inputs{.length = 1, .ids = {1, 2}};
  const std::vector<std::int64_t> labels{0, 2}, none;
  using Batches = training::LabelledBatches;
  CHECK_THROWS_WITH(Batches(inputs, none, 3, 1, 1), ContainsSubstring("no labelled inputs"));
  CHECK_THROWS_WITH(Batches(inputs, std::span(labels).first(1), 3, 1, 1),
                    ContainsSubstring("1 labels for 2 inputs"));
  CHECK_THROWS_WITH(Batches(inputs, labels, 2, 1, 1),
                    ContainsSubstring("label 1 is 2, the model knows 2 classes"));
  CHECK_THROWS_AS(Batches(inputs, labels, 3, 0, 1), ArgumentError);
  CHECK_THROWS_AS(Batches(inputs, labels, 3, 1, 1).at(-1), ArgumentError);
}
