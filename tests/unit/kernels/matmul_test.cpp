#include "pare/kernels/matmul.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/kernels/any_packed_matrix.hpp"
#include "pare/kernels/describe.hpp"
#include "pare/kernels/pack.hpp"
#include "support/catch.hpp"
#include "support/exact_product.hpp"
#include "support/kernel_formats.hpp"
#include "support/packed_weights.hpp"
#include "support/random_matrix.hpp"
#include "support/random_quantized.hpp"
#include "support/tolerance.hpp"

using namespace pare;

namespace {

constexpr KernelName float_kernels[] = {KernelName::reference, KernelName::portable,
                                        KernelName::avx2, KernelName::avx512};
constexpr KernelName integer_kernels[] = {
    KernelName::reference, KernelName::portable,   KernelName::neon, KernelName::avx2,
    KernelName::avxvnni,   KernelName::avx512vnni, KernelName::amx};

bool multiplies_floats(KernelName kernel) {
  return std::count(std::begin(float_kernels), std::end(float_kernels), kernel) > 0;
}

struct Case {
  Index tokens, rows, cols, group_size;
  ScaleType scale_type = ScaleType::f16;
  bool shuffled = false;
};
constexpr Case cases[] = {{1, 1, 1, -1},
                          {1, 16, 64, 32},
                          {1, 17, 65, 1, ScaleType::bf16},
                          {1, 33, 129, 33, ScaleType::f32},
                          {1, 50, 259, 64, ScaleType::f16, true},
                          {2, 15, 31, 7},
                          {3, 16, 3, -1, ScaleType::f32},
                          {4, 20, 40, 8, ScaleType::bf16},
                          {5, 33, 515, 128, ScaleType::f16, true},
                          {17, 50, 64, -1},
                          {23, 31, 96, 32, ScaleType::f16, true},
                          {12, 1, 256, 7, ScaleType::f32},
                          {13, 33, 1900, 1100},
                          {40, 33, 700, 136, ScaleType::bf16},
                          {70, 17, 600, 96, ScaleType::f32, true},
                          {0, 17, 8, -1},
                          {2, 0, 8, -1},
                          {3, 5, 0, -1}};

/// Codebooks as integers.
template <Format F>
test::Factor integer_weight_factor(const QuantizedMatrix<F>& q) {
  test::Factor w = test::weight_factor(q);
  if constexpr (!F::is_integer) {
    const kernels::IntegerCodebook& book = kernels::integer_codebook<F>;
    for (Index i = 0; i < q.rows(); ++i)
      for (Index j = 0; j < q.cols(); ++j) {
        w.values(i, j) = double{q.parameters()(i, q.group_of(j)).scale} * double{book.factor} *
                         (book.operands[q.code(i, j)] - book.center);
        w.magnitudes(i, j) = std::abs(w.values(i, j)) * 2.0;
      }
  }
  return w;
}

test::Factor activation_factor(const QuantizedActivations& q) {
  test::Factor x({q.tokens(), q.cols()});
  for (Index t = 0; t < q.tokens(); ++t)
    for (Index j = 0; j < q.cols(); ++j) {
      x.values(t, j) = double{q.scale(t, q.group_of(j))} * (q.codes(t, j) - q.zero_point);
      x.magnitudes(t, j) =
          double{q.scale(t, q.group_of(j))} * (std::abs(q.codes(t, j)) + std::abs(q.zero_point));
    }
  return x;
}

template <Format F>
QuantizedMatrix<F> make(const Case& c, Random& random) {
  auto q = test::random_quantized<F>(c.rows, c.cols, c.group_size, c.scale_type, random);
  if (c.shuffled) test::shuffle_groups(q, random);
  return q;
}

}  // namespace

TEST_CASE("float matmul of every format, kernel and shape is the sum in double", "[matmul]") {
  Random random(1);
  for_each_type(test::KernelFormats{}, [&]<class F>(TypeTag<F>) {
    for (const Case& c : cases) {
      const auto q = make<F>(c, random);
      const auto w = pack(q);
      const Matrix<float> x = test::random_matrix(c.tokens, c.cols, random());
      const test::ExactProduct exact(test::activation_factor(x), test::weight_factor(q));
      for (const KernelName kernel : float_kernels) {
        if (!kernels::cpu_supports(kernel)) continue;
        CAPTURE(F::name, c.tokens, c.rows, c.cols, c.group_size, to_string(kernel));
        Matrix<float> y({c.tokens, c.rows});
        y.fill(std::numeric_limits<float>::quiet_NaN());
        matmul(x, w, y, {.force = kernel});
        exact.check(y, c.cols + q.groups() + 4);
      }
    }
  });
}

TEST_CASE("integer matmul is exact up to two roundings per group", "[matmul]") {
  struct Activations {
    std::int32_t zero_point;
    Index group_size;
  };
  Random random(2);
  for_each_type(test::KernelFormats{}, [&]<class F>(TypeTag<F>) {
    for (const Case& c : cases)
      for (const Activations a : {Activations{0, -1}, {-128, -1}, {55, -1}, {0, 32}, {0, 96}}) {
        if (a.group_size > c.cols) continue;
        const auto q = make<F>(c, random);
        const auto w = pack(q);
        ActivationOptions options{.group_size = a.group_size};
        if (a.zero_point != 0) options = {.scale = 0.02f, .zero_point = a.zero_point};
        QuantizedActivations x =
            quantize_activations(test::random_matrix(c.tokens, c.cols, random()), options);
        for (Index t = 0; t < c.tokens; ++t) x.scales(t, 0) *= 1.0f + static_cast<float>(t);
        const bool integers = kernels::groups_fit(w.view(), x.group_length());
        const test::ExactProduct exact(
            activation_factor(x), integers ? integer_weight_factor(q) : test::weight_factor(q));
        for (const KernelName kernel : integer_kernels) {
          if (!kernels::cpu_supports(kernel)) continue;
          if (!integers && !multiplies_floats(kernel)) continue;
          CAPTURE(F::name, c.tokens, c.rows, c.cols, c.group_size, a.zero_point, a.group_size,
                  to_string(kernel));
          Matrix<float> y({c.tokens, c.rows});
          y.fill(std::numeric_limits<float>::quiet_NaN());
          matmul(x, w, y, {.force = kernel});
          exact.check(y, integers ? 2 * (q.groups() + x.groups()) + 6 : c.cols + 16);
        }
      }
  });
}

TEST_CASE("integer results are the same bits for every kernel with FMA and number of tokens",
          "[matmul]") {
  Random random(9);
  for_each_type(test::KernelFormats{}, [&]<class F>(TypeTag<F>) {
    for (const Index activation_group : {-1, 128})
      for (const Index group : {-1, 64}) {
        const auto w = pack(test::random_quantized<F>(40, 640, group, ScaleType::f16, random));
        const QuantizedActivations x = quantize_activations(test::random_matrix(13, 640, random()),
                                                            {.group_size = activation_group});
        Matrix<float> expected({13, 40});
        expected.fill(0.25f);
        matmul(x, {{w, expected, {.accumulate = true}}}, {.force = KernelName::reference});
        for (const KernelName kernel : integer_kernels) {
          if (!kernels::cpu_supports(kernel) || kernel == KernelName::portable) continue;
          CAPTURE(F::name, activation_group, group, to_string(kernel));
          for (const Index tokens : {1, 3, 13}) {
            QuantizedActivations some;
            some.group_size = activation_group;
            some.codes = Matrix<std::int8_t>(x.codes.view().slice(0, 0, tokens));
            some.scales = Matrix<float>(x.scales.view().slice(0, 0, tokens));
            some.sums = Matrix<std::int32_t>(x.sums.view().slice(0, 0, tokens));
            Matrix<float> y({tokens, 40});
            y.fill(0.25f);
            matmul(some, {{w, y, {.accumulate = true}}}, {.force = kernel});
            REQUIRE(y == Matrix<float>(expected.view().slice(0, 0, tokens)));
          }
        }
      }
  });
}

TEST_CASE("bias, accumulation and several outputs are what one call after the other gives",
          "[matmul]") {
  Random random(8);
  const auto w4 = pack(test::random_quantized<Int<4>>(50, 160, 32, ScaleType::f16, random));
  const auto w8 = pack(test::random_quantized<UInt<8>>(33, 160, -1, ScaleType::f32, random));
  const auto w3 = pack(test::random_quantized<UInt<3>>(17, 160, 32, ScaleType::bf16, random));
  const Vector<float> bias(test::random_matrix(1, 50, random()).view().row(0));
  for (const Index tokens : {1, 4, 7, 30}) {
    const Matrix<float> x = test::random_matrix(tokens, 160, random());
    const QuantizedActivations q = quantize_activations(x);
    const Matrix<float> before = test::random_matrix(tokens, 33, random());
    const auto check = [&](const auto& input) {
      Matrix<float> expected4({tokens, 50}), expected8({tokens, 33}), expected3({tokens, 17});
      matmul(input, w4, expected4);
      matmul(input, w8, expected8);
      matmul(input, w3, expected3);
      Matrix<float> y4({tokens, 50}), y8 = before, y3({tokens, 17});
      y4.fill(3.0f);
      matmul(input, {{w4, y4, {.bias = bias}}, {w8, y8, {.accumulate = true}}, {w3, y3}});
      CHECK(y3 == expected3);
      for (Index t = 0; t < tokens; ++t) {
        for (Index n = 0; n < 50; ++n)
          CHECK(std::abs(y4(t, n) - (expected4(t, n) + bias[n])) <= 1e-4f);
        for (Index n = 0; n < 33; ++n)
          CHECK(std::abs(y8(t, n) - (expected8(t, n) + before(t, n))) <= 1e-3f);
      }
    };
    check(x);
    check(q);
    Matrix<float> two_steps({tokens, 50}), dynamic({tokens, 50});
    matmul(q, w4, two_steps);
    matmul_dynamic(x, w4, dynamic);
    CHECK(dynamic == two_steps);
  }
}

TEMPLATE_TEST_CASE("integer sums do not saturate", "[matmul]", Int<8>, UInt<8>, Int<4>, UInt<4>) {
  const Index cols = 2000;
  for (const bool largest_weight : {false, true})
    for (const int activation : {-128, 127}) {
      QuantizedMatrix<TestType> q(3, cols, -1, ScaleType::f32);
      const unsigned stored = largest_weight ? (1u << TestType::code_bits) - 1u : 0u;
      for (Index i = 0; i < 3; ++i) {
        for (Index j = 0; j < cols; ++j)
          q.codes()(i, j) = from_stored<TestType>(static_cast<std::uint8_t>(stored));
        TestType::set_zero_point(q.parameters()(i, 0), i == 0 ? 0 : 7);
      }
      QuantizedActivations x;
      x.codes = Matrix<std::int8_t>({5, cols});
      x.scales = Matrix<float>({5, 1});
      x.sums = Matrix<std::int32_t>({5, 1});
      x.codes.fill(static_cast<std::int8_t>(activation));
      x.scales.fill(1.0f);
      x.sums.fill(activation * static_cast<std::int32_t>(cols));
      for (const KernelName kernel : integer_kernels) {
        if (!kernels::cpu_supports(kernel)) continue;
        Matrix<float> y({5, 3});
        matmul(x, pack(q), y, {.force = kernel});
        for (Index t = 0; t < 5; ++t)
          for (Index i = 0; i < 3; ++i)
            REQUIRE(y(t, i) ==
                    static_cast<float>(activation) * static_cast<float>(cols) * q.value(i, 0));
      }
    }
}

TEST_CASE("threads, workspace and number of tokens do not change integer results", "[matmul]") {
  Random random(3);
  const auto w = pack(test::random_quantized<Int<4>>(200, 160, 32, ScaleType::f16, random));
  const QuantizedActivations x = quantize_activations(test::random_matrix(19, 160, random()));
  Matrix<float> expected({19, 200}), y({19, 200});
  matmul(x, w, expected);
  for (const int threads : {1, 2, 3}) {
    Workspace workspace;
    for (int repeat = 0; repeat < 2; ++repeat) {
      y.fill(0.0f);
      matmul(x, w, y, {.parallel_for = OpenMpFor(threads), .workspace = &workspace});
      CHECK(y == expected);
    }
  }
  for (Index t = 0; t < 19; ++t) {
    QuantizedActivations one;
    one.codes = Matrix<std::int8_t>(x.codes.view().slice(0, t, 1));
    one.scales = Matrix<float>(x.scales.view().slice(0, t, 1));
    one.sums = Matrix<std::int32_t>(x.sums.view().slice(0, t, 1));
    Matrix<float> row({1, 200});
    matmul(one, w, row);
    CHECK(row == Matrix<float>(expected.view().slice(0, t, 1)));
  }
}

TEST_CASE("threads and workspace do not change float results", "[matmul]") {
  Random random(4);
  const auto w = pack(test::random_quantized<UInt<3>>(200, 600, 64, ScaleType::f16, random));
  for (const Index tokens : {1, 30})
    for (const KernelName kernel : float_kernels) {
      if (!kernels::cpu_supports(kernel)) continue;
      const Matrix<float> x = test::random_matrix(tokens, 600, random());
      Matrix<float> expected({tokens, 200}), y({tokens, 200});
      matmul(x, w, expected, {.force = kernel});
      for (const int threads : {1, 2, 3}) {
        Workspace workspace;
        matmul(x, w, y,
               {.parallel_for = OpenMpFor(threads), .workspace = &workspace, .force = kernel});
        CHECK(y == expected);
      }
    }
}

TEST_CASE("matmul reads and writes views of any strides, and only those", "[matmul]") {
  Random random(5);
  const auto w = pack(test::random_quantized<Int<5>>(20, 37, 16, ScaleType::f32, random));
  for (const Index tokens : {1, 5}) {
    const Matrix<float> x = test::random_matrix(tokens, 37, random());
    Matrix<float> expected({tokens, 20});
    matmul(x, w, expected);

    Matrix<float> wide({tokens, 50});
    copy(x.view(), wide.view().slice(1, 6, 37));
    Matrix<float> padded({tokens, 30});
    padded.fill(-7.0f);
    const MatrixView<float> part = padded.view().slice(1, 5, 20);
    matmul(wide.view().slice(1, 6, 37), w, part);
    CHECK(Matrix<float>(part) == expected);
    for (Index t = 0; t < tokens; ++t)
      for (Index j = 0; j < 30; ++j)
        if (j < 5 || j >= 25) CHECK(padded(t, j) == -7.0f);

    Matrix<float> x_columns({37, tokens}), y_columns({20, tokens});
    copy(x.view(), x_columns.view().transposed());
    matmul(x_columns.view().transposed(), w, y_columns.view().transposed());
    CHECK(Matrix<float>(y_columns.view().transposed()) == expected);
  }
}

TEST_CASE("activations that are not finite reach the result of their token only", "[matmul]") {
  Random random(6);
  const auto w = pack(test::random_quantized<UInt<4>>(18, 40, 8, ScaleType::f32, random));
  for (const KernelName kernel : float_kernels) {
    if (!kernels::cpu_supports(kernel)) continue;
    Matrix<float> x = test::random_matrix(3, 40, random()), y({3, 18});
    x(1, 39) = std::numeric_limits<float>::quiet_NaN();
    matmul(x, w, y, {.force = kernel});
    for (Index i = 0; i < 18; ++i) {
      CHECK(std::isfinite(y(0, i)));
      CHECK(std::isnan(y(1, i)));
      CHECK(std::isfinite(y(2, i)));
    }
  }
}

TEST_CASE("matmul refuses shapes that do not fit and kernels that do not exist", "[matmul]") {
  const auto w = pack(QuantizedMatrix<Int<4>>(6, 8, -1, ScaleType::f32));
  Matrix<float> x({2, 8}), y({2, 6}), bad({2, 5});
  CHECK_NOTHROW(matmul(x, w, y));
  CHECK_THROWS_WITH(matmul(x, w, bad), Catch::Contains("x [2, 8], w [6, 8] and y [2, 5]"));
  CHECK_THROWS_AS(matmul(bad, w, y), ShapeError);
  CHECK_THROWS_AS(matmul(x, w, y, {.force = KernelName::avx512vnni}), ArgumentError);
  QuantizedActivations q = quantize_activations(x);
  CHECK_THROWS_AS(matmul(q, w, y, {.force = KernelName::avx512}), ArgumentError);
  q.scales = Matrix<float>({1, 1});
  CHECK_THROWS_AS(matmul(q, w, y), ShapeError);
}

TEST_CASE("without its best instruction set a CPU runs the next kernel", "[matmul]") {
  using Codes = PackedMatrix<Int<4>>::Codes;
  const auto integer = [] { return kernels::integer_kernel<Codes>(KernelName::automatic).name; };
  const auto real = [] { return kernels::float_kernel<Codes>(KernelName::automatic).name; };
  std::vector<KernelName> integer_names{integer()}, float_names{real()};
  {
    std::vector<std::unique_ptr<kernels::HideKernels>> hidden;
    for (const KernelName name :
         {KernelName::amx, KernelName::avx512vnni, KernelName::avx512, KernelName::avxvnni,
          KernelName::avx2, KernelName::neon, KernelName::portable}) {
      hidden.push_back(
          std::make_unique<kernels::HideKernels>(std::initializer_list<KernelName>{name}));
      CHECK_FALSE(kernels::cpu_supports(name));
      if (integer() != integer_names.back()) integer_names.push_back(integer());
      if (real() != float_names.back()) float_names.push_back(real());
    }
    CHECK_THROWS_WITH(kernels::float_kernel<Codes>(KernelName::portable),
                      Catch::Contains("this CPU cannot run the portable kernel"));
    while (!hidden.empty()) hidden.pop_back();
  }
  CHECK(integer() == integer_names.front());
  CHECK(real() == float_names.front());
  std::vector<KernelName> of_this_cpu;
  for (const KernelName name :
       {KernelName::amx, KernelName::avx512vnni, KernelName::avxvnni, KernelName::avx2,
        KernelName::neon, KernelName::portable, KernelName::reference})
    if (kernels::cpu_supports(name)) of_this_cpu.push_back(name);
  CHECK(integer_names == of_this_cpu);
  CHECK(float_names.back() == KernelName::reference);
}

TEST_CASE("describe names the kernel and the reason", "[matmul]") {
  const Execution reference{.force = KernelName::reference};
  const auto int4 = pack(QuantizedMatrix<Int<4>>(16, 64, 32, ScaleType::f16));
  const auto nf4 = pack(QuantizedMatrix<NF4>(16, 64, 32, ScaleType::f16));
  CHECK(describe(int4, 3, reference) ==
        "int4 x float32: reference (forced), panels decoded for tiles of up to 1 tokens");
  CHECK(describe(int4, 1, reference, ActivationType::int8) ==
        "int4 x int8: reference (forced), codes decoded in registers, exact 32-bit sums per group");
  CHECK_THAT(describe(nf4, 1, {}, ActivationType::int8),
             Catch::Contains("codebook rounded to 127ths"));
  CHECK_THAT(describe(int4, 1, {}, ActivationType::int8, 20),
             Catch::StartsWith("int4 x int8: groups of activations end inside units of codes, "
                               "expanded to float32; int4 x float32: "));
}

TEST_CASE("a forced kernel quantizes in the call as before it", "[matmul]") {
  Random random(12);
  const auto w = pack(test::random_quantized<Int<4>>(33, 130, 32, ScaleType::f16, random));
  const Matrix<float> x = test::random_matrix(19, 130, random());
  for (const KernelName kernel : integer_kernels) {
    if (!kernels::cpu_supports(kernel)) continue;
    CAPTURE(to_string(kernel));
    Matrix<float> expected({19, 33}), y({19, 33});
    matmul(quantize_activations(x), w, expected, {.force = kernel});
    matmul_dynamic(x, w, y, {}, {.force = kernel});
    CHECK(y == expected);
  }
}

TEST_CASE("tuning changes the bits of float products only", "[matmul]") {
  Random random(11);
  const auto w = pack(test::random_quantized<Int<4>>(70, 700, 48, ScaleType::f16, random));
  const auto row = pack(test::random_quantized<UInt<3>>(70, 700, -1, ScaleType::f32, random));
  const auto int8 = pack(test::random_quantized<Int<8>>(70, 700, -1, ScaleType::f32, random));
  const Matrix<float> x = test::random_matrix(150, 700, random());
  const auto products = [&](const MatmulTuning& tuning, ActivationType type) {
    std::vector<Matrix<float>> y;
    for (int i = 0; i < 3; ++i) y.emplace_back(Shape<2>{150, 70});
    const Execution execution{.parallel_for = OpenMpFor(2), .tuning = tuning};
    const MatmulOutput outputs[] = {{w, y[0]}, {row, y[1]}, {int8, y[2]}};
    if (type == ActivationType::float32)
      matmul(x, outputs, execution);
    else if (type == ActivationType::bfloat16)
      matmul_bf16(x, outputs, execution);
    else
      matmul_dynamic(x, outputs, {}, execution);
    return y;
  };
  for (const MatmulTuning tuning :
       {MatmulTuning{.panels = 1}, MatmulTuning{.panels = 7}, MatmulTuning{.int8_columns = 32},
        MatmulTuning{.int8_columns = 96, .int8_tokens = 16}, MatmulTuning{.int8_tokens = 33},
        MatmulTuning{.int8_activation_bytes = 1 << 16}, MatmulTuning{.float_columns = 32}}) {
    CAPTURE(to_string(tuning));
    CHECK(products(tuning, ActivationType::int8) == products({}, ActivationType::int8));
    for (const auto type : {ActivationType::float32, ActivationType::bfloat16}) {
      const auto y = products(tuning, type), expected = products({}, type);
      if (tuning.float_columns == MatmulTuning{}.float_columns) CHECK(y == expected);
      for (std::size_t i = 0; i < y.size(); ++i)
        REQUIRE(test::max_difference(y[i], expected[i]) <=
                1e-6 * test::max_difference(expected[i], Matrix<float>({150, 70})));
    }
  }
  struct BadTuning {
    MatmulTuning tuning;
    const char* message;
  };
  for (const auto& [tuning, message] :
       {BadTuning{{.panels = 0}, "panels 0, not a multiple of 1 in [1, 1048576]"},
        BadTuning{{.int8_columns = 544}, "int8_columns 544, not a multiple of 32 in [32, 512]"},
        BadTuning{{.int8_columns = 40}, "int8_columns 40"},
        BadTuning{{.int8_tokens = 15}, "int8_tokens 15, not a multiple of 1 in [16, 128]"},
        BadTuning{{.int8_activation_bytes = 100}, "int8_activation_bytes 100"},
        BadTuning{{.float_columns = 0}, "float_columns 0"}}) {
    Matrix<float> y({150, 70});
    CHECK_THROWS_AS(matmul(x, w, y, {.tuning = tuning}), ArgumentError);
    CHECK_THROWS_WITH(matmul_dynamic(x, w, y, {}, {.tuning = tuning}), Catch::Contains(message));
    CHECK_THROWS_WITH(matmul_bf16(x, w, y, {.tuning = tuning}), Catch::Contains(message));
  }
}

#ifndef PARE_TEST_FEW_FORMATS  // a weight of any kind needs the kernels of all
TEST_CASE("a packed matrix of any kind multiplies like the one it holds", "[matmul]") {
  test::for_each_weight([](const auto& w) {
    const AnyPackedMatrix any(w);
    CAPTURE(any.format(), any.layout(), any.rows(), any.cols());
    for (const auto type :
         {ActivationType::float32, ActivationType::bfloat16, ActivationType::int8})
      CHECK(describe(any, 3, {}, type) == describe(w, 3, {}, type));
    for (const Index tokens : {1, 17}) {
      const Matrix<float> x = test::random_matrix(tokens, w.cols());
      Matrix<float> y({tokens, w.rows()}), expected({tokens, w.rows()});
      matmul(x, w, expected);
      matmul(x, any, y);
      CHECK(y == expected);
      matmul_bf16(x, w, expected);
      matmul_bf16(x, any, y);
      CHECK(y == expected);
      matmul_dynamic(x, w, expected);
      matmul_dynamic(x, any, y);
      CHECK(y == expected);
    }
  });
}
#endif
