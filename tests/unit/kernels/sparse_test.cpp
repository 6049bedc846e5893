#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "pare/core/parallel_openmp.hpp"
#include "pare/kernels/describe.hpp"
#include "pare/kernels/layout/sparse_layouts.hpp"
#include "pare/kernels/pack_sparse.hpp"
#include "support/catch.hpp"
#include "support/exact_product.hpp"
#include "support/random_matrix.hpp"
#include "support/random_sparse.hpp"

using namespace pare;

namespace {

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
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    for (const test::SparseCase& c : test::sparse_cases) {
      CAPTURE(L::name, c.rows, c.cols, c.group_size, c.density);
      const auto q = test::random_sparse<L>(c, random);
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
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    for (const test::SparseCase& c : test::sparse_cases) {
      const auto q = test::random_sparse<L>(c, random);
      const SparseMatrix<L> w = pack<L>(q);
      const Matrix<float> x = test::random_matrix(c.tokens, c.cols, random());
      const test::Factor factor = test::weight_factor(q);
      const test::ExactProduct exact(test::activation_factor(x), factor);
      for (const KernelName kernel :
           {KernelName::reference, KernelName::portable, KernelName::avx2, KernelName::avx512,
            KernelName::avxvnni, KernelName::avx512vnni, KernelName::amx}) {
        if (!kernels::cpu_supports(kernel)) continue;
        CAPTURE(L::name, c.tokens, c.rows, c.cols, c.group_size, c.density, to_string(kernel));
        Matrix<float> y({c.tokens, c.rows});
        const bool floats = kernel != KernelName::avxvnni && kernel != KernelName::avx512vnni &&
                            kernel != KernelName::amx;
        if (floats) {
          y.fill(std::numeric_limits<float>::quiet_NaN());
          matmul(x, w, y, {.force = kernel});
          exact.check(y, c.cols + q.groups() + 4);
        }
        if (kernel == KernelName::avx512) continue;
        for (const Index group : {Index{-1}, Index{24}}) {
          const QuantizedActivations a = quantize_activations(x, {.group_size = group});
          y.fill(std::numeric_limits<float>::quiet_NaN());
          if (!kernels::groups_fit(w.view(), a.group_length()) && !floats) continue;
          matmul(a, w, y, {.force = kernel});
          test::ExactProduct(test::activation_factor(dequantize(a)), factor)
              .check(y, c.cols / 4 + 2 * (q.groups() + a.groups()) + 12);
        }
      }
    }
  });
}

TEST_CASE("sparse results are the bits of dense ones, for any number of tokens and threads",
          "[sparse]") {
  Random random(3);
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    for (const double density : {0.0, 0.1, 0.5, 1.0}) {
      const auto q = test::random_sparse<L>({128, 100, 523, -1, density}, random);
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
            Execution execution{.parallel_for = OpenMpFor(threads), .workspace = &workspace};
            if (threads > 1) execution.tuning.int8_activation_bytes = 1 << 16;  // in parts
            matmul(part, w, y, execution);
            CHECK(y == Matrix<float>(expected.view().slice(0, 0, tokens)));
          }
        }
      }
    }
  });
}

TEST_CASE("sparse and dense outputs share a call, bias and accumulation", "[sparse]") {
  Random random(4);
  const auto q = test::random_sparse<TwoFour>({1, 50, 160, -1, 0.5}, random);
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
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
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
  const auto w =
      pack<BlockSparse<32>>(test::random_sparse<BlockSparse<32>>({1, 64, 64, -1, 0.5}, random));
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

TEST_CASE("a block of zeros may be kept", "[sparse]") {
  QuantizedMatrix<Int<8>> q(20, 24, -1, ScaleType::f32);
  q.codes()(3, 8) = 1;
  q.codes()(3, 9) = -1;  // the sum of both is 0: nothing but the codes tells of them
  const auto kept = pack<BlockSparse<32>>(q);
  REQUIRE(kept.blocks() == 1);
  HugePageMemory memory(kept.storage().bytes().size());
  std::memcpy(memory.data(), kept.storage().bytes().data(), memory.size_bytes());
  std::memset(memory.data() + kept.sections().codes.offset_bytes, 0, 128);
  const SparseMatrix<BlockSparse<32>> w(kept.shape(), PackedStorage(std::move(memory)));
  CHECK(w.blocks() == 1);
  CHECK(unpack(w) == QuantizedMatrix<Int<8>>(20, 24, -1, ScaleType::f32));
  Matrix<float> y({3, 20});
  y.fill(1.0f);
  matmul_dynamic(test::random_matrix(3, 24), w, y);
  CHECK(y == Matrix<float>({3, 20}));
}

TEST_CASE("a sparse matrix that was moved from is empty", "[sparse]") {
  Random random(6);
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    auto w = pack<L>(test::random_sparse<L>({1, 40, 70, 16, 0.5, ScaleType::f16, true}, random));
    const auto copy = w;
    const auto moved = std::move(w);
    CHECK(moved == copy);
    CHECK(w == SparseMatrix<L>());
    CHECK(w.rows() == 0);
    CHECK(w.groups() == 0);
    CHECK(w.column_order().empty());
    w = copy;
    CHECK(w == copy);
  });
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
