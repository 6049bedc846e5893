/// Shapes and options that fill no tile, beside a regular weight: 4096 x 4096, groups of 128 with
/// scales in F16, columns in order, 128 tokens.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "matmul_rows.hpp"
#include "pare/core/random.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/uint.hpp"

namespace bench {
namespace {

using namespace pare;

constexpr LayerShape regular_shape = layer_shapes[0];
constexpr Index regular_tokens = 128, regular_group = 128;

struct Ragged {
  std::string name;
  LayerShape shape = regular_shape;
  Index tokens = regular_tokens;
  Index group = regular_group;
  ScaleType scale_type = ScaleType::f16;
  bool ordered = false;  ///< columns sorted by group, as act_order leaves them
};

template <Format F>
PackedMatrix<F> packed(const Ragged& r) {
  auto q = quantize<F>(random_weights(r.shape.out, r.shape.in),
                       {.group_size = r.group, .scale_type = r.scale_type});
  if (r.ordered) {
    std::vector<std::int32_t> groups(static_cast<std::size_t>(q.cols()));
    for (Index j = 0; j < q.cols(); ++j)
      groups[static_cast<std::size_t>(j)] = static_cast<std::int32_t>(j / r.group);
    Random random(5);
    for (std::size_t j = groups.size(); j > 1; --j)
      std::swap(groups[j - 1], groups[random.below(static_cast<std::uint32_t>(j))]);
    q.set_group_index(groups);
  }
  return pack(q, {.parallel_for = parallel_for(default_threads())});
}

/// Two products of the same kind.
template <Format F>
struct RaggedData {
  PackedMatrix<F> w, regular;
  const Matrix<float>&x, &regular_x;
  Matrix<float> y, regular_y;
  Workspace workspace{};
};

template <Format F>
Workload prepare_ragged(const Ragged& r, bool int8, int threads) {
  auto data = std::make_shared<RaggedData<F>>(RaggedData<F>{
      packed<F>(r), packed<F>({}), random_activations(r.tokens, r.shape.in),
      random_activations(regular_tokens, regular_shape.in), Matrix<float>({r.tokens, r.shape.out}),
      Matrix<float>({regular_tokens, regular_shape.out})});
  const Execution execution{.parallel_for = parallel_for(threads), .workspace = &data->workspace};
  const auto multiply = [=](const Matrix<float>& x, const PackedMatrix<F>& w, Matrix<float>& y) {
    if (int8)
      matmul_dynamic(x, w, y, {}, execution);
    else
      matmul(x, w, y, execution);
  };
  Workload work;
  work.run = [=](Index) { multiply(data->x, data->w, data->y); };
  work.rivals["regular"] = [=](Index) {
    multiply(data->regular_x, data->regular, data->regular_y);
  };
  work.kernel =
      describe(data->w, r.tokens, execution, int8 ? ActivationType::int8 : ActivationType::float32);
  return work;
}

template <Format F>
Row ragged_row(const Ragged& r, bool int8) {
  Row row{.operation = "ragged",
          .variant = std::string(F::name) + (int8 ? " x int8, " : " x float32, ") + r.name};
  row.out = r.shape.out, row.in = r.shape.in;
  row.tokens = r.tokens, row.threads = default_threads();
  row.operations = matmul_operations(row);
  row.peak = !int8 ? Peak::float32 : has_amx() ? Peak::amx_int8 : Peak::vnni;
  row.rivals = {{"regular", 0.97}};
  row.prepare = [r, int8, threads = row.threads] { return prepare_ragged<F>(r, int8, threads); };
  return row;
}

}  // namespace

std::vector<Row> benchmark_rows() {
  const auto [out, in] = regular_shape;
  const Ragged all[] = {{.name = "rows", .shape = {out + 3, in}},
                        {.name = "columns", .shape = {out, in - 5}},
                        {.name = "tokens", .tokens = regular_tokens + 1},
                        {.name = "groups of 120", .group = 120},
                        {.name = "BF16 scales", .scale_type = ScaleType::bf16},
                        {.name = "F32 scales", .scale_type = ScaleType::f32},
                        {.name = "column order", .ordered = true}};
  std::vector<Row> rows;
  for (const bool int8 : {true, false})
    for (const Ragged& r : all) {
      rows.push_back(ragged_row<Int<4>>(r, int8));
      rows.back().quick = r.ordered;
      rows.push_back(ragged_row<UInt<4>>(r, int8));
    }
  return rows;
}

}  // namespace bench
