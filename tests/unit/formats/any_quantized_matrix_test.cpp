#include "pare/formats/any_quantized_matrix.hpp"

#include <set>
#include <string>
#include <type_traits>

#include "support/catch.hpp"

using namespace pare;

TEST_CASE("a matrix of any format answers like the matrix it holds", "[formats]") {
  std::set<std::string> seen;
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    QuantizedMatrix<F> q(3, 17, 8, ScaleType::f16);
    for (Index i = 0; i < 3; ++i)
      for (Index j = 0; j < 17; ++j) q.codes()(i, j) = from_stored<F>(1);
    const AnyQuantizedMatrix any(q);
    CHECK(any.format() == F::name);
    CHECK(any.rows() == 3);
    CHECK(any.cols() == 17);
    CHECK(any.group_size() == 8);
    CHECK(any.scale_type() == ScaleType::f16);
    CHECK(any.bytes() == q.bytes());
    CHECK(any.bits_per_weight() == q.bits_per_weight());
    CHECK(any.dequantize() == dequantize(q));
    CHECK(any == AnyQuantizedMatrix(q));
    CHECK(any.as<F>() == q);
    CHECK(any.visit([]<class G>(const QuantizedMatrix<G>&) { return std::is_same_v<F, G>; }));
    seen.insert(std::string(F::name));
  });
  CHECK(seen.size() == 17);
}

TEST_CASE("a matrix of another format is refused", "[formats]") {
  const AnyQuantizedMatrix any(QuantizedMatrix<NF4>(3, 17, 8, ScaleType::f16));
  CHECK_THROWS_AS(any.as<Int<8>>(), ArgumentError);
  CHECK_THROWS_WITH(any.as<Int<8>>(), "the matrix is nf4, not int8");
}

TEST_CASE("a format is found by its name", "[formats]") {
  for_each_type(AllFormats{}, []<class F>(TypeTag<F>) {
    CHECK(with_format(F::name, []<class G>(TypeTag<G>) { return std::is_same_v<F, G>; }));
  });
}

TEST_CASE("an unknown format is refused with the names there are", "[formats]") {
  for (const char* name : {"int1", "int", "INT4", "", "int44"}) {
    const auto look_up = [&] { with_format(name, [](auto) {}); };
    CHECK_THROWS_AS(look_up(), ArgumentError);
    CHECK_THROWS_WITH(look_up(), ContainsSubstring("\"" + std::string(name) + "\"") &&
                                     ContainsSubstring("int2, int3") && ContainsSubstring("nf4"));
  }
}
