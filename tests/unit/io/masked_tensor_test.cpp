#include "pare/io/masked_tensor.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_writer.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using namespace pare::test;

namespace {

template <class T>
NamedTensor tensor_of(DType dtype, const Matrix<float>& values) {
  const Matrix<T> converted(values.view());
  return {"w",
          dtype,
          {values.rows(), values.cols()},
          detail::to_bytes(
              std::span<const T>(converted.data(), static_cast<std::size_t>(converted.size())))};
}

NamedTensor tensor_of(DType dtype, const Matrix<float>& values) {
  return dtype == DType::F16    ? tensor_of<Float16>(dtype, values)
         : dtype == DType::BF16 ? tensor_of<BFloat16>(dtype, values)
                                : tensor_of<float>(dtype, values);
}

Matrix<float> matrix(Index rows, Index cols, const std::vector<float>& values) {
  Matrix<float> m({rows, cols});
  std::copy(values.begin(), values.end(), m.data());
  return m;
}

/// StoredTensors that are in memory.
struct StoredTensors {
  explicit StoredTensors(const std::vector<NamedTensor>& tensors) {
    for (const NamedTensor& tensor : tensors) all[tensor.name] = tensor;
  }
  [[nodiscard]] bool contains(std::string_view name) const {
    return all.contains(std::string(name));
  }
  [[nodiscard]] const TensorInfo& info(std::string_view name) {
    if (!contains(name)) throw FormatError("no tensor " + std::string(name));
    return infos[std::string(name)] = all.at(std::string(name)).info();
  }

  std::map<std::string, NamedTensor> all;
  std::map<std::string, TensorInfo> infos;
};

}  // namespace

TEST_CASE("a matrix comes back from its mask and values bit for bit") {
  const TemporaryDirectory directory;
  const struct {
    Index rows, cols;
  } shapes[] = {{1, 1}, {3, 7}, {2, 8}, {5, 63}, {4, 64}, {4, 65}, {7, 200}, {0, 3}, {3, 0}};
  enum class Keep { none, all, some, other_rows };
  for (const auto& [rows, cols] : shapes)
    for (const DType dtype : {DType::F32, DType::F16, DType::BF16})
      for (const Keep keep : {Keep::none, Keep::all, Keep::some, Keep::other_rows}) {
        CAPTURE(rows, cols, to_string(dtype), static_cast<int>(keep));
        Matrix<float> values({rows, cols});
        Index kept = 0;
        for (Index i = 0; i < rows; ++i)
          for (Index j = 0; j < cols; ++j) {
            const bool keeps = keep == Keep::all || (keep == Keep::some && (i * 5 + j) % 3 != 1) ||
                               (keep == Keep::other_rows && i % 2 == 0);
            values(i, j) = keeps ? 0.25f * static_cast<float>(i + 1) - static_cast<float>(j) : 0.0f;
            kept += values(i, j) != 0.0f;
          }
        const NamedTensor dense = tensor_of(dtype, values);
        write_safetensors(directory / "m", masked_tensors("w", dense.info()));
        const auto file = SafetensorsReader::open(directory / "m");
        CHECK(is_masked(file, "w"));
        CHECK(masked_shape(file, "w") == Shape<2>{rows, cols});
        CHECK(file.info("w_values").dtype == dtype);
        CHECK(file.info("w_values").shape == std::vector<Index>{kept});
        CHECK(file.info("w_mask").shape == std::vector<Index>{rows, (cols + 7) / 8});
        const NamedTensor again = unmasked_tensor(file, "w");
        CHECK(again.dtype == dtype);
        CHECK(again.shape == dense.shape);
        CHECK(again.data == dense.data);
        CHECK(read_maybe_masked(file, "w") == to_matrix(dense.info()));
      }
}

TEST_CASE("values lie row by row under the bits of the mask") {
  const Matrix<float> w = matrix(2, 3, {0.0f, 2.0f, 3.0f, 4.0f, 0.0f, 0.0f});
  StoredTensors stored{masked_tensors("a.weight", tensor_of(DType::F32, w).info())};
  CHECK(stored.all.at("a.weight_mask").data == std::vector{std::byte{0b110}, std::byte{0b001}});
  CHECK(elements_as<float>(stored.info("a.weight_values")) == std::vector{2.0f, 3.0f, 4.0f});
  CHECK(elements_as<std::int64_t>(stored.info("a.weight_shape")) ==
        std::vector<std::int64_t>{2, 3});
}

TEST_CASE("what is zero only in value is kept") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Matrix<float> w =
      matrix(1, 4, {-0.0f, nan, 0.0f, std::numeric_limits<float>::denorm_min()});
  const NamedTensor dense = tensor_of(DType::F32, w);
  StoredTensors stored{masked_tensors("w", dense.info())};
  CHECK(stored.all.at("w_values").shape == std::vector<Index>{3});
  CHECK(unmasked_tensor(stored, "w").data == dense.data);
}

TEST_CASE("a matrix that is not masked is read as it is") {
  const Matrix<float> w = matrix(1, 2, {1.0f, 0.0f});
  StoredTensors stored({tensor_of(DType::F16, w)});
  CHECK_FALSE(is_masked(stored, "w"));
  CHECK(read_maybe_masked(stored, "w") == w);
}

TEST_CASE("what no mask can hold, and masked tensors that do not fit, are refused by name") {
  const std::vector<std::byte> bytes(8);
  CHECK_THROWS_AS(masked_tensors("w", {DType::F32, {2}, bytes}), ShapeError);
  CHECK_THROWS_WITH(masked_tensors("w", {DType::F64, {1, 1}, bytes}), ContainsSubstring("F64"));

  Matrix<float> w({3, 10});
  for (Index i = 0; i < w.size(); i += 3) w.data()[i] = 1.0f;
  const auto set_shape = [](StoredTensors& t, std::int64_t rows, std::int64_t cols) {
    const std::int64_t shape[]{rows, cols};
    t.all.at("w_shape").data = detail::to_bytes(std::span<const std::int64_t>(shape));
  };
  const struct {
    void (*break_it)(StoredTensors&, decltype(set_shape)&);
    const char *tensor, *reason;
  } cases[] = {
      {[](StoredTensors& t, auto&) { t.all.at("w_mask").data[0] ^= std::byte{1}; }, "w_values",
       "keeps 9"},
      {[](StoredTensors& t, auto&) { t.all.at("w_mask").data[1] |= std::byte{4}; }, "w_mask",
       "beyond"},
      {[](StoredTensors& t, auto&) { t.all.at("w_mask").dtype = DType::I8; }, "w_mask", "I8"},
      {[](StoredTensors& t, auto&) {
         t.all.at("w_values").shape = {9};
         t.all.at("w_values").data.resize(9 * 4);
       },
       "w_values", "keeps 10"},
      {[](StoredTensors& t, auto&) {
         t.all.at("w_values").shape = {2, 5};
       },
       "w_values", "[2, 5]"},
      {[](StoredTensors& t, auto&) { t.all.at("w_values").dtype = DType::I32; }, "w_values", "I32"},
      {[](StoredTensors& t, auto& set) { set(t, 3, 17); }, "w_mask", "[3, 17]"},
      {[](StoredTensors& t, auto& set) { set(t, 2, 10); }, "w_mask", "[2, 10]"},
      {[](StoredTensors& t, auto& set) { set(t, 3, 0); }, "w_values", "keeps 0"},
      {[](StoredTensors& t, auto& set) { set(t, -3, 10); }, "w_shape", "absurd"},
      {[](StoredTensors& t, auto& set) { set(t, 3, std::int64_t{1} << 62); }, "w_shape", "absurd"},
      {[](StoredTensors& t, auto&) { t.all.at("w_shape").dtype = DType::U64; }, "w_shape", "U64"},
      {[](StoredTensors& t, auto&) {
         t.all.at("w_shape").shape = {1, 2};
       },
       "w_shape", "[1, 2]"},
      {[](StoredTensors& t, auto&) { t.all.erase("w_mask"); }, "w_mask", "no tensor"},
      {[](StoredTensors& t, auto&) { t.all.erase("w_shape"); }, "w_shape", "no tensor"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.tensor, c.reason);
    StoredTensors stored{masked_tensors("w", tensor_of(DType::F32, w).info())};
    REQUIRE(unmasked_tensor(stored, "w").shape == std::vector<Index>{3, 10});
    c.break_it(stored, set_shape);
    try {
      (void)unmasked_tensor(stored, "w");
      FAIL("it was read");
    } catch (const FormatError& error) {
      CHECK_THAT(error.what(), ContainsSubstring(c.tensor) && ContainsSubstring(c.reason));
    }
  }
}
