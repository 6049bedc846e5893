#include "pare/io/mask_tensor.hpp"

#include <utility>
#include <vector>

#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_writer.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using namespace pare::test;

TEST_CASE("a mask comes back from a file as it was") {
  const TemporaryDirectory directory;
  for (const auto& [rows, cols] :
       {std::pair<Index, Index>{1, 1}, {3, 7}, {2, 8}, {4, 65}, {5, 200}, {0, 3}}) {
    CAPTURE(rows, cols);
    Mask mask(rows, cols, false);
    for (Index i = 0; i < rows; ++i)
      for (Index j = i % 2; j < cols; j += 3) mask.set(i, j, true);
    write_safetensors(directory / "m", {mask_tensor("w.mask", mask)});
    const auto file = SafetensorsReader::open(directory / "m");
    CHECK(file.info("w.mask").shape == std::vector<Index>{rows, (cols + 7) / 8});
    CHECK(read_mask(file.info("w.mask"), {rows, cols}) == mask);
  }
}

TEST_CASE("bits lie as numpy packs them, the first lowest") {
  Mask mask(1, 10, false);
  for (const Index j : {0, 1, 3, 9}) mask.set(0, j, true);
  CHECK(mask_tensor("m", mask).data == std::vector{std::byte{0b00001011}, std::byte{0b00000010}});
}

TEST_CASE("tensors that are no mask are refused") {
  const std::vector<std::byte> bytes{std::byte{1}, std::byte{4}};
  const TensorInfo tensor{DType::U8, {1, 2}, bytes};
  CHECK_THROWS_WITH(read_mask(tensor, {1, 10}), ContainsSubstring("bit beyond"));
  CHECK_THROWS_AS(read_mask(tensor, {1, 17}), FormatError);
  CHECK_THROWS_AS(read_mask(tensor, {2, 10}), FormatError);
  CHECK_THROWS_AS(read_mask(TensorInfo{DType::I8, {1, 2}, bytes}, {1, 11}), FormatError);
  CHECK(read_mask(tensor, {1, 11}).kept() == 2);
}
