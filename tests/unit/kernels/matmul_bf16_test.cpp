#include <cmath>
#include <limits>

#include "pare/core/float16.hpp"
#include "pare/core/parallel_openmp.hpp"
#include "pare/formats/all.hpp"
#include "pare/kernels/describe.hpp"
#include "pare/kernels/matmul.hpp"
#include "pare/kernels/pack.hpp"
#include "support/catch.hpp"
#include "support/exact_product.hpp"
#include "support/random_matrix.hpp"
#include "support/random_quantized.hpp"

using namespace pare;

namespace {

/// One for each way of decoding: the kernels of all formats take long to compile.
#ifdef PARE_TEST_FEW_FORMATS
using Formats = TypeList<UInt<3>, Int<4>, NF4>;
#else
using Formats = TypeList<Int<2>, UInt<3>, Int<4>, UInt<4>, FP4, NF4, Int<8>>;
#endif

constexpr KernelName kernels_of_bf16[] = {KernelName::automatic, KernelName::reference,
                                          KernelName::avx512, KernelName::avx512bf16,
                                          KernelName::amx};

struct Case {
  Index tokens, rows, cols, group_size;
  ScaleType scale_type = ScaleType::f16;
  bool shuffled = false;
};
constexpr Case cases[] = {{1, 1, 1, -1},
                          {1, 17, 65, 1, ScaleType::bf16},
                          {1, 50, 259, 64, ScaleType::f16, true},
                          {2, 33, 96, 32},
                          {3, 16, 3, -1, ScaleType::f32},
                          {4, 20, 40, 8, ScaleType::bf16},
                          {5, 33, 515, 128, ScaleType::f16, true},
                          {6, 31, 1100, -1, ScaleType::f32},
                          {7, 16, 1300, 530},
                          {8, 40, 600, 24, ScaleType::f16, true},
                          {17, 50, 64, -1},
                          {40, 33, 1300, 136},
                          {70, 17, 600, 40, ScaleType::f32, true},
                          {23, 31, 96, 32, ScaleType::f16, true},
                          {12, 1, 256, 7, ScaleType::f32},
                          {0, 17, 8, -1},
                          {2, 0, 8, -1},
                          {3, 5, 0, -1}};

/// Activations as they are multiplied.
test::Factor rounded_factor(MatrixView<const float> x) {
  Matrix<float> rounded(x);
  for (Index i = 0; i < rounded.size(); ++i)
    rounded.data()[i] = static_cast<float>(BFloat16(rounded.data()[i]));
  return test::activation_factor(rounded);
}

/// What it runs on is this format's choice, unless the CPU lacks it.
bool can_run(KernelName kernel) {
  return kernel == KernelName::automatic || kernels::cpu_supports(kernel);
}

}  // namespace

TEST_CASE("bf16 matmul is the sum in double over rounded activations", "[matmul]") {
  Random random(1);
  for_each_type(Formats{}, [&]<class F>(TypeTag<F>) {
    for (const Case& c : cases) {
      auto q = test::random_quantized<F>(c.rows, c.cols, c.group_size, c.scale_type, random);
      if (c.shuffled) test::shuffle_groups(q, random);
      const auto w = pack(q);
      const Matrix<float> x = test::random_matrix(c.tokens, c.cols, random());
      const test::ExactProduct exact(rounded_factor(x), test::weight_factor(q));
      for (const KernelName kernel : kernels_of_bf16) {
        if (!can_run(kernel)) continue;
        CAPTURE(F::name, c.tokens, c.rows, c.cols, c.group_size, to_string(kernel));
        Matrix<float> y({c.tokens, c.rows});
        y.fill(std::numeric_limits<float>::quiet_NaN());
        matmul_bf16(x, w, y, {.force = kernel});
        exact.check(y, x.cols() + q.groups() + 4);
      }
    }
  });
}

TEST_CASE("bf16 outputs of one call have bias and accumulation and share no more than they may",
          "[matmul]") {
  Random random(2);
  const auto a = pack(test::random_quantized<Int<4>>(50, 160, 32, ScaleType::f16, random));
  const auto b = pack(test::random_quantized<UInt<4>>(33, 160, 32, ScaleType::f32, random));
  const auto c = pack(test::random_quantized<NF4>(17, 160, 32, ScaleType::f16, random));
  auto shuffled = test::random_quantized<Int<4>>(40, 160, 32, ScaleType::f16, random);
  test::shuffle_groups(shuffled, random);
  const auto d = pack(shuffled);
  const Vector<float> bias(test::random_matrix(1, 50, random()).view().row(0));
  for (const Index tokens : {1, 3, 7, 30})
    for (const KernelName kernel : kernels_of_bf16) {
      if (!can_run(kernel)) continue;
      const Matrix<float> x = test::random_matrix(tokens, 160, random());
      const Matrix<float> before = test::random_matrix(tokens, 33, random());
      Matrix<float> ya({tokens, 50}), yb({tokens, 33}), yc({tokens, 17}), yd({tokens, 40});
      const Execution execution{.force = kernel};
      matmul_bf16(x, a, ya, execution);
      matmul_bf16(x, b, yb, execution);
      matmul_bf16(x, c, yc, execution);
      matmul_bf16(x, d, yd, execution);
      Matrix<float> za({tokens, 50}), zb = before, zc({tokens, 17}), zd({tokens, 40});
      Workspace workspace;
      matmul_bf16(x, {{a, za, {.bias = bias}}, {b, zb, {.accumulate = true}}, {c, zc}, {d, zd}},
                  {.parallel_for = OpenMpFor(2), .workspace = &workspace, .force = kernel});
      CHECK(zc == yc);
      CHECK(zd == yd);
      for (Index t = 0; t < tokens; ++t) {
        for (Index n = 0; n < 50; ++n) CHECK(std::abs(za(t, n) - (ya(t, n) + bias[n])) <= 1e-4f);
        for (Index n = 0; n < 33; ++n)
          CHECK(std::abs(zb(t, n) - (yb(t, n) + before(t, n))) <= 1e-3f);
      }
    }
}

TEST_CASE("bf16 matmul takes views of any strides and passes on what is not finite", "[matmul]") {
  Random random(3);
  const auto w = pack(test::random_quantized<Int<3>>(20, 37, 16, ScaleType::f32, random));
  for (const Index tokens : {1, 6}) {
    Matrix<float> x = test::random_matrix(tokens, 37, random());
    Matrix<float> expected({tokens, 20}), x_columns({37, tokens}), y_columns({20, tokens});
    matmul_bf16(x, w, expected);
    copy(x.view(), x_columns.view().transposed());
    matmul_bf16(x_columns.view().transposed(), w, y_columns.view().transposed());
    CHECK(Matrix<float>(y_columns.view().transposed()) == expected);

    for (const KernelName kernel : kernels_of_bf16) {
      if (!can_run(kernel)) continue;
      x(tokens - 1, 36) = std::numeric_limits<float>::quiet_NaN();
      Matrix<float> y({tokens, 20});
      matmul_bf16(x, w, y, {.force = kernel});
      for (Index t = 0; t < tokens; ++t)
        for (Index n = 0; n < 20; ++n) CHECK(std::isnan(y(t, n)) == (t == tokens - 1));
    }
  }
}

TEST_CASE("a forced bf16 kernel needs the CPU, and describe says what runs", "[matmul]") {
  const auto int4 = pack(QuantizedMatrix<Int<4>>(16, 64, 32, ScaleType::f16));
  const auto nf4 = pack(QuantizedMatrix<NF4>(16, 64, 32, ScaleType::f16));
  const auto int5 = pack(QuantizedMatrix<Int<5>>(16, 64, 32, ScaleType::f16));
  const Execution bf16{.force = KernelName::avx512bf16};
  const auto say = [](const auto& w, Index tokens, const Execution& execution) {
    return describe(w, tokens, execution, ActivationType::bfloat16);
  };
  CHECK(say(int4, 1, {.force = KernelName::reference}) ==
        "int4 x bf16: activations rounded to bf16; int4 x float32: reference (forced), panels "
        "decoded for tiles of up to 1 tokens");
  if (kernels::cpu_supports(KernelName::avx512bf16)) {
    CHECK(say(int4, 1, bf16) == "int4 x bf16: avx512bf16 (forced), codes decoded in registers");
    CHECK(say(int4, 9, bf16) ==
          "int4 x bf16: avx512bf16 (forced), panels decoded for tiles of up to 7 tokens");
    for (const std::string& text : {say(nf4, 1, bf16), say(int5, 9, bf16)})
      CHECK_THAT(text, Catch::Contains("x bf16: codes are not looked up as bf16, activations "
                                       "rounded to bf16; ") &&
                           Catch::Contains("x float32: "));
  }
  const kernels::HideKernels hidden({KernelName::avx512bf16, KernelName::amx});
  Matrix<float> x({1, 64}), y({1, 16});
  CHECK_THROWS_AS(matmul_bf16(x, int4, y, bf16), ArgumentError);
  CHECK_THROWS_AS(matmul_bf16(x, nf4, y, bf16), ArgumentError);
  CHECK_THROWS_AS(matmul_bf16(x, int4, y, {.force = KernelName::avx512vnni}), ArgumentError);
  CHECK_THAT(say(int4, 1, {}), Catch::Contains("activations rounded to bf16"));
}
