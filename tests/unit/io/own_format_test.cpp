#include <cmath>
#include <filesystem>
#include <map>

#include "pare/core/random.hpp"
#include "pare/io/packed_file.hpp"
#include "pare/io/pare_checkpoint.hpp"
#include "pare/kernels/describe.hpp"
#include "pare/kernels/matmul.hpp"
#include "pare/kernels/pack.hpp"
#include "pare/kernels/unpack.hpp"
#include "pare/quantization/gptq.hpp"
#include "pare/quantization/quantize.hpp"
#include "support/catch.hpp"
#include "support/own_formats.hpp"

using namespace pare;

namespace {

static_assert(check_format<test::Fp8>());
static_assert(check_format<test::TwoLevels>());
static_assert(!kernels::TableFormat<test::Fp8>);
static_assert(!kernels::TableFormat<test::Levels>);
static_assert(!kernels::TableFormat<test::Signs>);
static_assert(kernels::TableFormat<test::Codebook>);
static_assert(kernels::TableFormat<Int<3>> && kernels::TableFormat<UInt<8>> &&
              kernels::TableFormat<NF4> && kernels::TableFormat<FP4> &&
              kernels::TableFormat<Ternary>);

Matrix<float> random_matrix(std::uint64_t seed, Index rows, Index cols) {
  Random random(seed);
  Matrix<float> w({rows, cols});
  for (Index i = 0; i < w.size(); ++i) w.data()[i] = random.normal();
  return w;
}

double relative_error(const Matrix<float>& w, const Matrix<float>& approximation) {
  double error = 0.0, size = 0.0;
  for (Index i = 0; i < w.size(); ++i) {
    const double v = static_cast<double>(w.data()[i]);
    error += std::pow(v - static_cast<double>(approximation.data()[i]), 2);
    size += v * v;
  }
  return std::sqrt(error / size);
}

/// Tensors by name, as a file has them.
class Tensors {
 public:
  explicit Tensors(std::vector<NamedTensor> tensors) : tensors_(std::move(tensors)) {
    for (const NamedTensor& tensor : tensors_) infos_.emplace(tensor.name, tensor.info());
  }
  [[nodiscard]] bool contains(std::string_view name) const {
    return infos_.find(name) != infos_.end();
  }
  [[nodiscard]] const TensorInfo& info(std::string_view name) const {
    if (!contains(name)) throw FormatError("there is no tensor " + std::string(name));
    return infos_.find(name)->second;
  }

 private:
  std::vector<NamedTensor> tensors_;
  std::map<std::string, TensorInfo, std::less<>> infos_;
};

/// The rest of the way of a matrix: packed, multiplied, saved and loaded.
template <Format F>
void check_way(const QuantizedMatrix<F>& q) {
  const PackedMatrix<F> packed = pack(q);
  CHECK(unpack(packed) == q);
  const Matrix<float> values = dequantize(q);
  for (const Index tokens : {1, 3, 17}) {
    const Matrix<float> x = random_matrix(3, tokens, q.cols());
    Matrix<float> y({tokens, q.rows()}), bf16({tokens, q.rows()});
    for (const KernelName force :
         {KernelName::automatic, KernelName::portable, KernelName::reference}) {
      matmul(x, packed, y, {.force = force});
      for (Index t = 0; t < tokens; ++t)
        for (Index n = 0; n < q.rows(); ++n) {
          double expected = 0.0, magnitude = 0.0;
          for (Index k = 0; k < q.cols(); ++k) {
            const double product = static_cast<double>(x(t, k)) * static_cast<double>(values(n, k));
            expected += product;
            magnitude += std::fabs(product);
          }
          CAPTURE(tokens, t, n, to_string(force));
          REQUIRE(std::fabs(static_cast<double>(y(t, n)) - expected) <= 1e-5 * magnitude + 1e-30);
        }
    }
    matmul(x, packed, y);
    matmul(quantize_activations(x), packed, bf16);
    CHECK(relative_error(y, bf16) < 0.05);
    matmul_bf16(x, packed, bf16);
    CHECK(relative_error(y, bf16) < 0.02);
  }

  const auto path = std::filesystem::temp_directory_path() / "pare_own_format_test.pack";
  PackedFileWriter().add("one", packed).template add<F>("two", packed).save(path);
  {
    const PackedFile file(path);
    CHECK(file.load<F>("one") == packed);
    const PackedMatrix<F> mapped = file.map<F>("two");
    CHECK(mapped == packed);
    Matrix<float> a({2, q.rows()}), b({2, q.rows()});
    const Matrix<float> x = random_matrix(4, 2, q.cols());
    matmul(x, packed, a);
    matmul(x, mapped, b);
    for (Index i = 0; i < a.size(); ++i) CHECK(a.data()[i] == b.data()[i]);
    CHECK_THROWS_WITH(file.load("one"), ContainsSubstring(std::string(F::name)));
    CHECK_THROWS_WITH(file.load<NF4>("one"), ContainsSubstring("not dense nf4"));
  }
  std::filesystem::remove(path);

  Tensors tensors(pare_tensors("layer", q));
  CHECK(read_pare_layer<F>(tensors, "layer", pare_layer_config(q)) == q);
  CHECK_THROWS_WITH(read_pare_layer<NF4>(tensors, "layer", pare_layer_config(q)),
                    ContainsSubstring("not nf4"));
}

}  // namespace

TEMPLATE_TEST_CASE("a format of one's own goes all the way", "[formats]", test::Fp8, test::Levels,
                   test::Signs, test::TwoLevels, test::Codebook) {
  const double largest_error = std::string(TestType::name) == "own-fp8"          ? 0.04
                               : std::string(TestType::name) == "own-two-levels" ? 0.2
                               : std::string(TestType::name) == "own-levels"     ? 0.35
                                                                                 : 0.7;
  for (const auto& [rows, cols, group] :
       {std::array<Index, 3>{17, 40, 16}, {5, 33, -1}, {1, 1, -1}, {33, 96, 32}}) {
    CAPTURE(rows, cols, group);
    const Matrix<float> w = random_matrix(1, rows, cols);
    const QuantizedMatrix<TestType> q = quantize<TestType>(w, {.group_size = group});
    if (cols > 1) CHECK(relative_error(w, dequantize(q)) < largest_error);
    check_way(q);

    Hessian h(cols);
    h.add(random_matrix(2, 2 * cols, cols));
    for (const bool act_order : {false, true})
      check_way(gptq<TestType>(w, h, {.group_size = group, .act_order = act_order}));
  }
}

TEST_CASE("bits of parameters are those that are stored", "[formats]") {
  CHECK(quantize<test::Fp8>(random_matrix(1, 4, 32), {.group_size = 32}).bytes() == 4 * 32 + 4);
  CHECK(quantize<test::Levels>(random_matrix(1, 4, 32), {.group_size = 32}).bytes() ==
        4 * 12 + 4 * 4);
  CHECK(quantize<test::TwoLevels>(random_matrix(1, 4, 32), {.group_size = 32}).bytes() ==
        4 * 16 + 4 * 2 + 4);
}

TEST_CASE("kernels say how a format of one's own is multiplied", "[formats]") {
  const Matrix<float> w = random_matrix(1, 4, 32);
  const auto generic = pack(quantize<test::Fp8>(w));
  const auto table = pack(quantize<test::Codebook>(w));
  CHECK_THAT(describe(generic, 1), ContainsSubstring("generic kernel"));
  CHECK_THAT(describe(generic, 1, {}, ActivationType::int8),
             ContainsSubstring("the format has no integers"));
  CHECK_THAT(describe(table, 1), !ContainsSubstring("generic kernel"));
}

TEST_CASE("parameters that their types do not hold are refused by name", "[formats]") {
  const Matrix<float> w = random_matrix(1, 4, 32);
  auto fp8 = quantize<test::Fp8>(w, {.group_size = 16});
  fp8.parameters()(2, 1).scale = 3.0f;
  const auto in_scales = ContainsSubstring("\"scales\" of own-fp8, block [2, 1]");
  CHECK_THROWS_WITH(pack(fp8), in_scales);
  CHECK_THROWS_WITH(pare_tensors("layer", fp8), in_scales);

  auto two = quantize<test::TwoLevels>(w, {.group_size = 16});
  two.parameters()(3, 0).tensor_scale *= 2.0f;
  const auto differs = ContainsSubstring("differs between the blocks");
  CHECK_THROWS_WITH(pack(two), differs);
  CHECK_THROWS_WITH(pare_tensors("layer", two), differs);
  two = quantize<test::TwoLevels>(w, {.group_size = 16});
  two.codes()(1, 5) = 7;
  CHECK_THROWS_WITH(pack(two), ContainsSubstring("no own-two-levels"));
}

TEST_CASE("weights that a format has no parameters for are refused by its name", "[formats]") {
  Matrix<float> w({1, 4});
  w.fill(1e6f);  // beyond the f16 offset
  CHECK_THROWS_WITH(quantize<test::Levels>(w, {.group_size = 4}), ContainsSubstring("own-levels"));
}
