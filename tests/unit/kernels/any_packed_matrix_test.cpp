#include "pare/kernels/any_packed_matrix.hpp"

#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/packed_weights.hpp"

using namespace pare;

TEST_CASE("a packed matrix of any kind answers like the one it holds", "[any_packed_matrix]") {
  test::for_each_weight([]<class W>(const W& w) {
    const AnyPackedMatrix any(w);
    CHECK(any.format() == W::format::name);
    CHECK(any.layout() == W::layout::name);
    CHECK(any.rows() == w.rows());
    CHECK(any.cols() == w.cols());
    CHECK(any.group_size() == w.group_size());
    CHECK(any.scale_type() == w.scale_type());
    CHECK(any.bytes() == w.bytes());
    CHECK(any.bits_per_weight() == w.bits_per_weight());
    CHECK(any.as<W>() == w);
    CHECK(any == AnyPackedMatrix(w));
    CHECK_FALSE(any == AnyPackedMatrix(PackedMatrix<Ternary>()));
    CHECK(unpack(any) == AnyQuantizedMatrix(unpack(w)));
    CHECK(any.visit([]<class V>(const V&) { return std::is_same_v<V, W>; }));
    CHECK(with_packed(any.format(), any.layout(),
                      []<class V>(TypeTag<V>) { return std::is_same_v<V, W>; }));
  });
}

TEST_CASE("a packed matrix of another kind is refused", "[any_packed_matrix]") {
  const AnyPackedMatrix any = pack<TwoFour>(QuantizedMatrix<Int<8>>(3, 5, -1, {}));
  CHECK_THROWS_AS(any.as<PackedMatrix<Int<8>>>(), ArgumentError);
  CHECK_THROWS_WITH(any.as<PackedMatrix<Int<8>>>(),
                    "the packed matrix is 2:4 int8, not dense int8");
}

TEST_CASE("a weight is packed in the layout of a name", "[any_packed_matrix]") {
  Random random(2);
  const auto q = test::random_sparse<TwoFour>({0, 40, 100, -1, 0.5}, random);
  std::vector<AnyPackedMatrix> packed{pack_as("dense", q)};
  CHECK(packed[0] == AnyPackedMatrix(pack(q)));
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    packed.push_back(pack_as(L::name, q));
    CHECK(packed.back() == AnyPackedMatrix(pack<L>(q)));
  });
  for (const AnyPackedMatrix& w : packed) {
    CAPTURE(w.layout());
    CHECK(unpack(w) == AnyQuantizedMatrix(q));
    CHECK((&w == &packed[0]) == (w == packed[0]));
  }
}

TEST_CASE("a layout that does not exist or does not fit is refused", "[any_packed_matrix]") {
  QuantizedMatrix<Int<8>> q(20, 32, -1, ScaleType::f32);
  for (const char* name : {"", "Dense", "2:4 ", "3:4"}) {
    CHECK_THROWS_AS(pack_as(name, q), ArgumentError);
    CHECK_THROWS_WITH(pack_as(name, q), "no layout is named \"" + std::string(name) +
                                            "\"; there are dense, " + names(AllSparseLayouts{}));
  }
  CHECK_NOTHROW(pack_as("2:4", q));
  q.codes()(7, 20) = q.codes()(7, 21) = q.codes()(7, 22) = 1;
  CHECK_THROWS_WITH(pack_as("2:4", q), ContainsSubstring("row 7"));
  const AnyQuantizedMatrix other = QuantizedMatrix<UInt<8>>(20, 32, -1, ScaleType::f32);
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    CHECK_THROWS_AS(pack_as(L::name, other), ArgumentError);
    CHECK_THROWS_WITH(pack_as(L::name, other),
                      "layout " + std::string(L::name) + " holds int8, not uint8");
  });
  CHECK_THROWS_WITH(with_packed("int9", "dense", [](auto) {}),
                    ContainsSubstring("no format is named \"int9\""));
}
