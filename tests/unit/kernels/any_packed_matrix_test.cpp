#include "pare/kernels/any_packed_matrix.hpp"

#include <string>
#include <type_traits>
#include <vector>

#include "pare/kernels/describe.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"
#include "support/random_sparse.hpp"

using namespace pare;

namespace {

/// Calls `f` with a packed weight of each format and of each sparse layout.
template <class F>
void for_each_weight(F&& f) {
  Random random(1);
  for_each_type(AllFormats{}, [&]<class T>(TypeTag<T>) {
    auto q = test::random_quantized<T>(33, 70, 32, ScaleType::f16, random);
    test::shuffle_groups(q, random);
    f(pack(q));
  });
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    for (const test::SparseCase& c : test::sparse_cases)
      f(pack<L>(test::random_sparse<L>(c, random)));
  });
}

#ifndef PARE_TEST_FEW_FORMATS
void check_same_products(const MatmulOutput& output, const MatmulOutput& expected) {
  const Index tokens = output.y().rows();
  CAPTURE(tokens, output.weight().rows, output.weight().cols, output.weight().code_bits);
  const Matrix<float> x = test::random_matrix(tokens, output.weight().cols);
  const auto same = [&] { return Matrix<float>(output.y()) == Matrix<float>(expected.y()); };
  matmul(x, {expected});
  matmul(x, {output});
  CHECK(same());
  matmul_bf16(x, {expected});
  matmul_bf16(x, {output});
  CHECK(same());
  matmul_dynamic(x, {expected});
  matmul_dynamic(x, {output});
  CHECK(same());
}
#endif

}  // namespace

TEST_CASE("a packed matrix of any kind answers like the one it holds", "[any_packed_matrix]") {
  for_each_weight([]<class W>(const W& w) {
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
    for (const auto type :
         {ActivationType::float32, ActivationType::bfloat16, ActivationType::int8})
      CHECK(describe(any, 3, {}, type) == describe(w, 3, {}, type));
  });
}

TEST_CASE("a packed matrix of another kind is refused", "[any_packed_matrix]") {
  const AnyPackedMatrix any = pack<TwoFour>(QuantizedMatrix<Int<8>>(3, 5, -1, {}));
  CHECK_THROWS_AS(any.as<PackedMatrix<Int<8>>>(), ArgumentError);
  CHECK_THROWS_WITH(any.as<PackedMatrix<Int<8>>>(),
                    "the packed matrix is 2:4 int8, not dense int8");
}

#ifndef PARE_TEST_FEW_FORMATS  // the kernels of all formats

TEST_CASE("a packed matrix of any kind multiplies like the one it holds", "[any_packed_matrix]") {
  for_each_weight([](const auto& w) {
    const AnyPackedMatrix any(w);
    for (const Index tokens : {1, 17}) {
      Matrix<float> y({tokens, w.rows()}), expected({tokens, w.rows()});
      check_same_products(MatmulOutput(any, y), MatmulOutput(w, expected));
    }
  });
}

TEST_CASE("a weight is packed in the layout of a name", "[any_packed_matrix]") {
  Random random(2);
  const auto q = test::random_sparse<TwoFour>({0, 40, 100, -1, 0.5}, random);
  const Matrix<float> x = test::random_matrix(5, 100);
  Matrix<float> expected({5, 40});
  matmul_dynamic(x, pack(q), expected);
  std::vector<AnyPackedMatrix> packed{pack_as("dense", q)};
  CHECK(packed[0] == AnyPackedMatrix(pack(q)));
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    packed.push_back(pack_as(L::name, q));
    CHECK(packed.back() == AnyPackedMatrix(pack<L>(q)));
  });
  for (const AnyPackedMatrix& w : packed) {
    CAPTURE(w.layout());
    CHECK(unpack(w) == AnyQuantizedMatrix(q));
    Matrix<float> y({5, 40});
    matmul_dynamic(x, w, y);
    CHECK(y == expected);
    CHECK((&w == &packed[0]) == (w == packed[0]));
  }
}

#endif

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
