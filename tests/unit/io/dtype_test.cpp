#include "pare/io/dtype.hpp"

#include <cstdint>

#include "support/catch.hpp"

using namespace pare;

TEST_CASE("every dtype has its name and width", "[dtype]") {
  for (std::size_t i = 0; i < detail::dtypes.size(); ++i) {
    const auto dtype = static_cast<DType>(i);
    CHECK(dtype_named(to_string(dtype)) == dtype);
  }
  CHECK(to_string(DType::F8_E4M3FNUZ) == "F8_E4M3FNUZ");
  CHECK(bits(DType::BOOL) == 8);
  CHECK(bits(DType::F4) == 4);
  CHECK(bits(DType::F6_E3M2) == 6);
  CHECK(bits(DType::BF16) == 16);
  CHECK(bits(DType::C64) == 64);
  CHECK_FALSE(dtype_named("F7").has_value());
  CHECK_FALSE(dtype_named("").has_value());
}

TEST_CASE("types in memory have their dtype", "[dtype]") {
  static_assert(dtype_of<float>() == DType::F32 && dtype_of<double>() == DType::F64);
  static_assert(dtype_of<Float16>() == DType::F16 && dtype_of<BFloat16>() == DType::BF16);
  static_assert(dtype_of<std::int8_t>() == DType::I8 && dtype_of<std::uint8_t>() == DType::U8);
  static_assert(dtype_of<std::int16_t>() == DType::I16 && dtype_of<std::uint64_t>() == DType::U64);
  for (const ScaleType type : {ScaleType::f32, ScaleType::f16, ScaleType::bf16})
    CHECK(scale_type_of(dtype_of(type)) == type);
  CHECK_FALSE(scale_type_of(DType::F64).has_value());
}
