#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "pare/core/parallel_openmp.hpp"
#include "pare/kernels/describe.hpp"
#include "pare/kernels/pack_sparse.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"
#include "support/random_quantized.hpp"

using namespace pare;

namespace {

constexpr double eps = 0x1p-24;

template <class F>
void for_each_layout(F&& f) {
  f(BlockSparse<32>{});
  f(BlockSparse<16>{});
  f(TwoFour{});
}

struct Case {
  Index tokens, rows, cols, group_size;
  double density;
  ScaleType scale_type = ScaleType::f32;
  bool shuffled = false;
};
constexpr Case cases[] = {{1, 1, 1, -1, 1.0},
                          {1, 33, 259, -1, 0.5, ScaleType::f16},
                          {2, 32, 64, -1, 0.0},
                          {3, 17, 33, -1, 0.1},
                          {5, 70, 515, -1, 0.5, ScaleType::bf16},
                          {13, 31, 96, -1, 1.0},
                          {17, 64, 1029, -1, 0.1},
                          {1, 20, 100, 24, 0.5},
                          {9, 40, 130, 32, 0.5, ScaleType::f16, true},
                          {4, 18, 77, 7, 0.5, ScaleType::bf16, true},
                          {0, 17, 8, -1, 0.5},
                          {2, 0, 8, -1, 0.5},
                          {3, 5, 0, -1, 0.5}};

/// Blocks of 32 x 4 are kept at random; in the layout of two in four, of each four kept two.
QuantizedMatrix<Int<8>> random_sparse(const Case& c, bool two_in_four, Random& random) {
  auto q = test::random_quantized<Int<8>>(c.rows, c.cols, c.group_size, c.scale_type, random);
  if (c.shuffled) test::shuffle_groups(q, random);
  const std::vector<std::int32_t> order = q.column_order();
  for (Index first = 0; first < c.rows; first += 32)
    for (Index g = 0; g < q.groups(); ++g) {
      const Index begin = g * q.group_length(), end = std::min(begin + q.group_length(), c.cols);
      for (Index k = begin; k < end; k += 4) {
        const bool keep = random.uniform(0.0f, 1.0f) < c.density;
        for (Index i = first; i < std::min(first + 32, c.rows); ++i) {
          const std::uint32_t one = random.below(4), other = random.below(4);
          for (Index j = k; j < std::min(k + 4, end); ++j)
            if (!keep || (two_in_four && j - k != one && j - k != other))
              q.codes()(i, order.empty() ? j : order[static_cast<std::size_t>(j)]) = 0;
        }
      }
    }
  return q;
}

/// Sums in double: n additions of float32 terms are off by at most n eps sum |term|.
void check_product(MatrixView<const float> x, const QuantizedMatrix<Int<8>>& q,
                   MatrixView<const float> y, Index additions) {
  for (Index t = 0; t < y.rows(); ++t)
    for (Index i = 0; i < y.cols(); ++i) {
      double sum = 0.0, magnitude = 0.0;
      for (Index k = 0; k < q.cols(); ++k) {
        const double term = double{x(t, k)} * double{q.value(i, k)};
        sum += term;
        magnitude += std::abs(term);
      }
      CAPTURE(t, i, sum);
      REQUIRE(std::abs(y(t, i) - sum) <= static_cast<double>(additions) * eps * magnitude);
    }
}

QuantizedActivations token_of(const QuantizedActivations& x, Index first, Index count) {
  QuantizedActivations part;
  part.codes = Matrix<std::int8_t>(x.codes.view().slice(0, first, count));
  part.scales = Matrix<float>(x.scales.view().slice(0, first, count));
  part.sums = Matrix<std::int32_t>(x.sums.view().slice(0, first, count));
  part.zero_point = x.zero_point;
  return part;
}

}  // namespace

TEST_CASE("packing without zeros loses nothing", "[sparse]") {
  Random random(1);
  for_each_layout([&]<class L>(L) {
    for (const Case& c : cases) {
      CAPTURE(L::name, c.rows, c.cols, c.group_size, c.density);
      const auto q = random_sparse(c, !L::has_blocks, random);
      const SparseMatrix<L> w = pack<L>(q);
      CHECK(unpack(w) == q);
      CHECK(pack<L>(unpack(w)) == w);
      CHECK(pack<L>(q, {.parallel_for = OpenMpFor(3)}) == w);
      const SparseMatrix<L> copy(w.shape(), w.storage());
      CHECK(copy == w);
    }
  });
}

TEST_CASE("what is stored is what is kept", "[sparse]") {
  QuantizedMatrix<Int<8>> q(64, 128, -1, ScaleType::f32);
  q.codes()(5, 9) = 1;
  q.codes()(20, 10) = 2;
  q.codes()(40, 127) = -128;
  CHECK(pack<BlockSparse<32>>(q).blocks() == 2);
  CHECK(pack<BlockSparse<16>>(q).blocks() == 3);
  CHECK(pack<BlockSparse<32>>(q).density() == Approx(2.0 / 64));
  QuantizedMatrix<Int<8>> large(1024, 1024, -1, ScaleType::f32);
  for (Index i = 0; i < 1024; ++i)
    for (Index j = 0; j < 1024; ++j)
      if (j / 4 % 4 == 0 && j % 4 < 2) large.codes()(i, j) = 7;
  CHECK(pack<BlockSparse<32>>(large).bits_per_weight() == Approx(2.0).epsilon(0.1));
  CHECK(pack<TwoFour>(large).bits_per_weight() == Approx(5.0).epsilon(0.05));
}

TEST_CASE("products of sparse weights are sums in double", "[sparse]") {
  Random random(2);
  for_each_layout([&]<class L>(L) {
    for (const Case& c : cases) {
      const auto q = random_sparse(c, !L::has_blocks, random);
      const SparseMatrix<L> w = pack<L>(q);
      const Matrix<float> x = test::random_matrix(c.tokens, c.cols, random());
      for (const KernelName kernel :
           {KernelName::reference, KernelName::portable, KernelName::avx2, KernelName::avx512,
            KernelName::avxvnni, KernelName::avx512vnni}) {
        if (!kernels::cpu_supports(kernel)) continue;
        CAPTURE(L::name, c.tokens, c.rows, c.cols, c.group_size, c.density, to_string(kernel));
        Matrix<float> y({c.tokens, c.rows});
        const bool floats = kernel != KernelName::avxvnni && kernel != KernelName::avx512vnni;
        if (floats) {
          y.fill(std::numeric_limits<float>::quiet_NaN());
          matmul(x, w, y, {.force = kernel});
          check_product(x, q, y, c.cols + q.groups() + 4);
        }
        if (kernel == KernelName::avx512) continue;
        for (const Index group : {Index{-1}, Index{24}}) {
          const QuantizedActivations a = quantize_activations(x, {.group_size = group});
          y.fill(std::numeric_limits<float>::quiet_NaN());
          if (!kernels::groups_fit(w.view(), a.group_length()) && !floats) continue;
          matmul(a, w, y, {.force = kernel});
          check_product(dequantize(a), q, y, c.cols / 4 + 2 * (q.groups() + a.groups()) + 12);
        }
      }
    }
  });
}

TEST_CASE("sparse results are the bits of dense ones, for any number of tokens and threads",
          "[sparse]") {
  Random random(3);
  for_each_layout([&]<class L>(L) {
    for (const double density : {0.0, 0.1, 0.5, 1.0}) {
      const auto q = random_sparse({128, 100, 523, -1, density}, !L::has_blocks, random);
      const SparseMatrix<L> w = pack<L>(q);
      for (const std::int32_t zero_point : {0, -77}) {
        ActivationOptions options;
        if (zero_point != 0) options = {.scale = 0.02f, .zero_point = zero_point};
        const QuantizedActivations x =
            quantize_activations(test::random_matrix(128, 523, random()), options);
        Matrix<float> expected({128, 100});
        matmul(x, pack(q), expected);
        for (const Index tokens : {1, 2, 3, 4, 5, 8, 9, 13, 16, 17, 128}) {
          CAPTURE(L::name, density, zero_point, tokens);
          const QuantizedActivations part = token_of(x, 0, tokens);
          Matrix<float> y({tokens, 100});
          for (const int threads : {1, 3}) {
            Workspace workspace;
            y.fill(0.0f);
            matmul(part, w, y, {.parallel_for = OpenMpFor(threads), .workspace = &workspace});
            CHECK(y == Matrix<float>(expected.view().slice(0, 0, tokens)));
          }
        }
      }
    }
  });
}

TEST_CASE("sparse and dense outputs share a call, bias and accumulation", "[sparse]") {
  Random random(4);
  const auto q = random_sparse({1, 50, 160, -1, 0.5}, true, random);
  const auto blocks = pack<BlockSparse<32>>(q);
  const auto narrow = pack<BlockSparse<16>>(q);
  const auto two_four = pack<TwoFour>(q);
  const auto dense = pack(q);
  const Vector<float> bias(test::random_matrix(1, 50, random()).view().row(0));
  for (const Index tokens : {1, 4, 7, 30}) {
    const Matrix<float> x = test::random_matrix(tokens, 160, random());
    const Matrix<float> before = test::random_matrix(tokens, 50, random());
    Matrix<float> expected = before;
    matmul_dynamic(x, {{dense, expected, {.bias = bias, .accumulate = true}}});
    std::array<Matrix<float>, 4> y{before, before, before, before};
    const OutputOptions options{.bias = bias, .accumulate = true};
    matmul_dynamic(x, {{blocks, y[0], options},
                       {dense, y[1], options},
                       {two_four, y[2], options},
                       {narrow, y[3], options}});
    for (std::size_t i = 0; i < y.size(); ++i) {
      CAPTURE(tokens, i);
      CHECK(y[i] == expected);
    }
  }
}

TEST_CASE("sums of the largest codes do not overflow", "[sparse]") {
  const Index cols = 65536;
  for_each_layout([&]<class L>(L) {
    QuantizedMatrix<Int<8>> q(2, cols, -1, ScaleType::f32);
    for (Index j = 0; j < cols; ++j) {
      if (!L::has_blocks && j % 4 > 1) continue;
      q.codes()(0, j) = -128;
      q.codes()(1, j) = 127;
    }
    for (const int code : {-128, 127}) {
      QuantizedActivations x = quantize_activations(Matrix<float>({6, cols}));
      x.codes.fill(static_cast<std::int8_t>(code));
      x.sums.fill(code * static_cast<std::int32_t>(cols));
      x.scales.fill(1.0f);
      Matrix<float> y({6, 2});
      matmul(x, pack<L>(q), y);
      const auto kept = static_cast<float>(L::has_blocks ? cols : cols / 2);
      for (Index t = 0; t < 6; ++t) {
        CHECK(y(t, 0) == -128.0f * static_cast<float>(code) * kept);
        CHECK(y(t, 1) == 127.0f * static_cast<float>(code) * kept);
      }
    }
  });
}

TEST_CASE("2:4 packing names what is not sparse enough", "[sparse]") {
  QuantizedMatrix<Int<8>> q(40, 64, -1, ScaleType::f32);
  q.codes()(37, 20) = q.codes()(37, 22) = 1;
  CHECK_NOTHROW(pack<TwoFour>(q));
  q.codes()(37, 23) = -1;
  CHECK_THROWS_WITH(pack<TwoFour>(q), Catch::Contains("row 37") && Catch::Contains("20, 22, 23"));
  CHECK_THROWS_AS(pack<TwoFour>(q), ArgumentError);
}

TEST_CASE("stored sparse bytes are validated", "[sparse]") {
  Random random(5);
  const auto w = pack<BlockSparse<32>>(random_sparse({1, 64, 64, -1, 0.5}, false, random));
  const auto damaged = [&](auto&& damage) {
    HugePageMemory memory(w.storage().bytes().size());
    std::memcpy(memory.data(), w.storage().bytes().data(), memory.size_bytes());
    damage(memory.data());
    return PackedStorage(std::move(memory));
  };
  using Sparse = SparseMatrix<BlockSparse<32>>;
  CHECK_THROWS_AS(Sparse(w.shape(), PackedStorage()), ShapeError);
  CHECK_THROWS_AS(Sparse(w.shape(), damaged([](std::byte* p) { p[23] = std::byte{1}; })),
                  ShapeError);
  CHECK_THROWS_AS(Sparse(w.shape(), damaged([](std::byte* p) { p[8] = std::byte{0xff}; })),
                  ArgumentError);
  CHECK_THROWS_AS(Sparse(w.shape(), damaged([&](std::byte* p) {
                           p[w.sections().quads.offset_bytes] = std::byte{0xff};
                         })),
                  ArgumentError);
}

TEST_CASE("describe says what becomes of zeros", "[sparse]") {
  const auto blocks = pack<BlockSparse<32>>(QuantizedMatrix<Int<8>>(32, 64, -1, ScaleType::f32));
  const Execution reference{.force = KernelName::reference};
  CHECK(describe(blocks, 1, reference, ActivationType::int8) ==
        "int8 blocks-32x4 x int8: reference (forced), zeros expanded");
  CHECK(describe(blocks, 1, reference) ==
        "int8 blocks-32x4 x float32: reference (forced), zeros expanded");
  if (kernels::cpu_supports(KernelName::avx512vnni)) {
    CHECK(describe(blocks, 1, {}, ActivationType::int8) ==
          "int8 blocks-32x4 x int8: avx512vnni (best of this CPU), zeros skipped");
  }
}
