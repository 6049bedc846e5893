#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "pare/core/random.hpp"
#include "pare/core/thread_pool.hpp"
#include "support/catch.hpp"
#include "training/operations/activation.hpp"
#include "training/operations/attention.hpp"
#include "training/operations/batch_norm.hpp"
#include "training/operations/convolution.hpp"
#include "training/operations/cross_entropy.hpp"
#include "training/operations/embedding.hpp"
#include "training/operations/linear.hpp"
#include "training/operations/norm.hpp"
#include "training/operations/pooling.hpp"
#include "training/operations/rope.hpp"

using namespace pare;
using training::Dual;

namespace {

/// Inputs of an operation, or their gradients.
template <class S>
using Matrices = std::vector<Matrix<S>>;

/// An operation on some matrices for one kind of number: computes its output, and adds to the
/// gradients of the inputs those of <the output, upstream(output)>, where there are any.
template <class S>
using Run =
    std::function<Matrix<S>(const Matrices<S>& in, Matrices<S>* gradients, const Execution&)>;

struct Case {
  std::string name;
  std::vector<Shape<2>> shapes;
  Run<double> run;
  Run<Dual<double>> dual;
  Run<float> single;
  /// Inputs are nearer to 0, so that kinks of the operation are.
  double size = 1.0;
};

/// What comes from behind: the gradient of sum_i (c_i y_i + y_i^2 / 2), which bends.
template <class S>
S upstream(S y, Index i) {
  return y + S(std::sin(static_cast<double>(i)));
}

template <class S>
Matrix<S> upstream_of(const Matrix<S>& y) {
  Matrix<S> dy(y.shape());
  for (Index i = 0; i < y.size(); ++i) dy.data()[i] = upstream(y.data()[i], i);
  return dy;
}

/// The view of a gradient, or an empty one where none is asked for.
template <class S>
MatrixView<S> at(Matrices<S>* gradients, std::size_t i) {
  return (*gradients)[i].view();
}
template <class S>
MatrixView<const S> in_or_none(const Matrices<S>& in, std::size_t i) {
  return i < in.size() ? in[i].view() : MatrixView<const S>();
}
template <class S>
MatrixView<S> at_or_none(Matrices<S>* gradients, std::size_t i) {
  return i < gradients->size() ? (*gradients)[i].view() : MatrixView<S>();
}

/// `op` is a template on the number: op(in, gradients or null, execution).
template <class Op>
Case make_case(std::string name, std::vector<Shape<2>> shapes, Op op, double size = 1.0) {
  return {std::move(name), std::move(shapes), op, op, op, size};
}

/// Rows of a batch, columns: ragged, and a single one.
constexpr Shape<2> ragged[] = {{1, 1}, {3, 7}, {17, 33}, {5, 70}};

std::string text(const Shape<2>& shape) { return to_string(shape); }

void add_linear(std::vector<Case>& cases) {
  for (const auto& [rows, cols] : ragged)
    for (const bool has_bias : {false, true}) {
      const Index out = cols / 2 + 3;
      std::vector<Shape<2>> shapes{{rows, cols}, {out, cols}};
      if (has_bias) shapes.push_back({1, out});
      cases.push_back(make_case(
          "linear " + text({rows, cols}) + (has_bias ? " with a bias" : ""), shapes,
          [out]<class S>(const Matrices<S>& in, Matrices<S>* d, const Execution& execution) {
            Matrix<S> y({in[0].rows(), out});
            training::linear<S>(in[0], in[1], in_or_none(in, 2), y, execution);
            if (d)
              training::linear_backward<S>(upstream_of(y), in[0], in[1], at(d, 1), at_or_none(d, 2),
                                           at(d, 0), execution);
            return y;
          }));
      cases.push_back(make_case(
          "product " + text({rows, cols}), {{rows, cols}, {out, cols}},
          []<class S>(const Matrices<S>& in, Matrices<S>* d, const Execution& execution) {
            Matrix<S> y({in[0].rows(), in[1].rows()});
            training::add_product<S>(-0.5, in[0], in[1].view().transposed(), y.view(), execution);
            if (!d) return y;
            const Matrix<S> dy = upstream_of(y);
            training::add_product<S>(-0.5, dy, in[1], at(d, 0), execution);
            training::add_product<S>(-0.5, dy.view().transposed(), in[0], at(d, 1), execution);
            return y;
          }));
    }
}

void add_norms(std::vector<Case>& cases) {
  using Kind = engine::NormDescription::Kind;
  struct Norm {
    const char* name;
    Kind kind;
    Index width, weights, bias;  ///< of rows of 12
  };
  for (const auto& [name, kind, width, weights, bias] :
       {Norm{"rms norm", Kind::rms, 12, 12, 0},
        Norm{"rms norm plus one", Kind::rms_plus_one, 12, 12, 0},
        Norm{"rms norm of heads", Kind::rms, 4, 4, 0}, Norm{"layer norm", Kind::layer, 12, 12, 12},
        Norm{"layer norm without a bias", Kind::layer, 12, 12, 0},
        Norm{"layer norm of heads that differ", Kind::layer, 4, 12, 12}})
    for (const Index rows : {1, 5}) {
      std::vector<Shape<2>> shapes{{rows, 12}, {1, weights}};
      if (bias > 0) shapes.push_back({1, bias});
      const engine::NormDescription description{kind, 1e-3f};
      const Index part = width;
      cases.push_back(
          make_case(std::string(name) + " of " + std::to_string(rows), shapes,
                    [description, part]<class S>(const Matrices<S>& in, Matrices<S>* d,
                                                 const Execution& execution) {
                      const training::NormView<S> norm{description, part, in[1], in_or_none(in, 2)};
                      Matrix<S> y(in[0].shape());
                      training::norm_forward<S>(norm, in[0], y, execution);
                      if (d)
                        training::norm_backward<S>(norm, in[0], upstream_of(y), at(d, 1),
                                                   at_or_none(d, 2), at(d, 0), execution);
                      return y;
                    }));
    }
  for (const Shape<2> image : {Shape<2>{1, 1}, Shape<2>{2, 3}})
    for (const bool is_training : {true, false})
      for (const bool affine : {true, false}) {
        const training::BatchNormSettings settings{{3, image[0], image[1]}, 1e-3, 0.3};
        std::vector<Shape<2>> shapes{{5, settings.input.size()}};
        if (affine) shapes.insert(shapes.end(), 2, Shape<2>{1, 3});
        cases.push_back(make_case(
            std::string("batch norm of ") + text(image) + (is_training ? " in training" : "") +
                (affine ? "" : " without weights"),
            shapes,
            [settings, is_training]<class S>(const Matrices<S>& in, Matrices<S>* d,
                                             const Execution& execution) {
              Matrix<S> y(in[0].shape()), statistics({2, 3}), running({2, 3});
              for (Index i = 0; i < 6; ++i)
                running.data()[i] = S(0.3 + 0.2 * static_cast<double>(i));
              if (is_training)
                training::batch_statistics<S>(settings, in[0], statistics, running, execution);
              else
                training::running_statistics<S>(settings, running, statistics);
              training::batch_norm<S>(settings, in[0], statistics, in_or_none(in, 1),
                                      in_or_none(in, 2), y, execution);
              if (d)
                training::batch_norm_backward<S>(settings, is_training, upstream_of(y), in[0],
                                                 statistics, in_or_none(in, 1), at_or_none(d, 1),
                                                 at_or_none(d, 2), at(d, 0), execution);
              return y;
            }));
      }
}

void add_activations(std::vector<Case>& cases) {
  using engine::Activation;
  for (const auto& [name, activation] :
       {std::pair{"silu", Activation::silu}, std::pair{"gelu", Activation::gelu},
        std::pair{"gelu_tanh", Activation::gelu_tanh}, std::pair{"relu", Activation::relu},
        std::pair{"tanh", Activation::tanh}})
    for (const bool is_gated : {false, true}) {
      const Activation kind = activation;
      cases.push_back(make_case(
          std::string(is_gated ? "gated " : "") + name,
          std::vector<Shape<2>>(is_gated ? 2 : 1, Shape<2>{3, 37}),
          [kind, is_gated]<class S>(const Matrices<S>& in, Matrices<S>* d,
                                    const Execution& execution) {
            Matrix<S> y(in[0].shape());
            const auto gate = is_gated ? in[1].view() : MatrixView<const S>();
            training::feed_forward<S>(kind, gate, in[0], y, execution);
            if (!d) return y;
            const Matrix<S> dy = upstream_of(y);
            Matrix<S> dgate(y.shape()), dup(y.shape());
            training::feed_forward_backward<S>(kind, gate, in[0], dy, dgate, dup, execution);
            for (Index i = 0; i < y.size(); ++i) {
              at(d, 0).data()[i] += dup.data()[i];
              if (is_gated) at(d, 1).data()[i] += dgate.data()[i];
            }
            return y;
          },
          2.0));
    }
}

void add_attention(std::vector<Case>& cases) {
  struct Attention {
    const char* name;
    training::AttentionSettings settings;
    bool hides = false;
  };
  const Attention all[] = {
      {"causal attention", {2, 2, 3, 7, 7, 0.6}},
      {"attention of one token", {2, 1, 4, 1, 1, 0.5}},
      {"attention of heads that share keys", {4, 2, 3, 5, 5, 0.6}},
      {"attention in windows", {2, 1, 3, 9, 4, 0.6}},
      {"attention with a cap", {2, 2, 3, 6, 6, 1.5, 1.2}},
      {"attention to all", {2, 2, 3, 7, 7, 0.6, 0.0, false}},
      {"attention to what is seen", {2, 2, 3, 7, 7, 0.6, 0.0, false}, true},
      {"attention to what is seen with a cap", {2, 1, 3, 4, 4, 0.6, 2.0, false}, true},
      {"attention across tiles", {1, 1, 2, 70, 66, 0.6}},
  };
  // Of the first sequence the last tokens are padding, of the second the first and one within.
  static const std::vector<std::uint8_t> seven{1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1};
  static const std::vector<std::uint8_t> four{1, 0, 0, 0, 0, 1, 0, 1};
  for (const Attention& attention : all) {
    training::AttentionSettings s = attention.settings;
    if (attention.hides) s.visible = s.length == 7 ? seven : four;
    const Index tokens = s.length > 64 ? s.length : 2 * s.length;
    const Shape<2> keys{tokens, s.kv_heads * s.head_dim};
    cases.push_back(
        make_case(attention.name, {{tokens, s.heads * s.head_dim}, keys, keys},
                  [s]<class S>(const Matrices<S>& in, Matrices<S>* d, const Execution& execution) {
                    Matrix<S> y(in[0].shape()), p({in[0].rows() * s.heads, s.length});
                    training::attention<S>(s, in[0], in[1], in[2], p, y, execution);
                    if (d)
                      training::attention_backward<S>(s, in[0], in[1], in[2], p, upstream_of(y),
                                                      at(d, 0), at(d, 1), at(d, 2), execution);
                    return y;
                  }));
  }
}

void add_lookups(std::vector<Case>& cases) {
  for (const bool neighbours : {false, true}) {
    const engine::RopeParameters parameters{.rotated = 4, .neighbours = neighbours};
    cases.push_back(make_case(
        neighbours ? "rope of neighbours" : "rope", {{6, 12}},
        [parameters]<class S>(const Matrices<S>& in, Matrices<S>* d, const Execution& execution) {
          const training::RopeTable<S> table(parameters, 3);
          Matrix<S> y = in[0];
          table.turn(y, 6, false, execution);
          if (!d) return y;
          Matrix<S> dx = upstream_of(y);
          table.turn(dx, 6, true, execution);
          for (Index i = 0; i < y.size(); ++i) at(d, 0).data()[i] += dx.data()[i];
          return y;
        }));
  }
  cases.push_back(make_case(
      "embedding", {{5, 70}},
      []<class S>(const Matrices<S>& in, Matrices<S>* d, const Execution& execution) {
        const std::vector<std::int32_t> ids{4, 0, 0, 2, 4, 1, 0};
        Matrix<S> y({7, 70});
        training::add_embedding<S>(in[0], ids, S(1.5), y.view(), execution);
        if (d)
          training::add_embedding_backward<S>(upstream_of(y), ids, S(1.5), at(d, 0), execution);
        return y;
      }));
  for (const Shape<2> shape : {Shape<2>{1, 1}, Shape<2>{1, 5}, Shape<2>{7, 3}, Shape<2>{6, 33}})
    cases.push_back(make_case(
        "cross entropy " + text(shape), {shape},
        []<class S>(const Matrices<S>& in, Matrices<S>* d, const Execution& execution) {
          std::vector<std::int32_t> labels;
          for (Index t = 0; t < in[0].rows(); ++t)
            labels.push_back(t % 4 == 2 ? training::ignored_label
                                        : static_cast<std::int32_t>(3 * t % in[0].cols()));
          Matrix<S> y({1, 1});
          y(0, 0) = training::cross_entropy<S>(in[0], labels, MatrixView<S>(), 1.0, execution);
          if (!d) return y;
          // Its gradient times a number, which a weight is not.
          Matrix<S> dlogits(in[0].shape());
          static_cast<void>(
              training::cross_entropy<S>(in[0], labels, dlogits.view(), 1.0, execution));
          for (Index i = 0; i < dlogits.size(); ++i)
            at(d, 0).data()[i] += dlogits.data()[i] * upstream(y(0, 0), 0);
          return y;
        }));
}

struct ConvolutionCase {
  Index batch;
  training::ConvolutionSettings settings;
  bool has_bias;
};

const ConvolutionCase convolutions[] = {
    {1, {{1, 1, 1}, 1, {}}, false},
    {2, {{3, 5, 7}, 4, {.size = {3, 3}, .padding = {1, 1}}}, true},
    {3, {{2, 6, 5}, 3, {.size = {3, 2}, .stride = {2, 1}}}, true},
    {2, {{4, 7, 6}, 6, {.size = {2, 3}, .stride = {1, 3}, .padding = {0, 2}}, 2}, true},
    {2, {{3, 5, 5}, 3, {.size = {3, 3}, .stride = {2, 2}, .padding = {1, 1}}, 3}, false},
    {1, {{2, 3, 3}, 2, {.size = {5, 5}, .stride = {3, 3}, .padding = {3, 4}}}, true},
    {3, {{5, 4, 4}, 7, {}}, true},                // 1 x 1
    {2, {{2, 4, 3}, 5, {.size = {4, 3}}}, true},  // all at once
    {1, {{1, 2, 2}, 1, {.size = {1, 2}, .stride = {3, 5}, .padding = {2, 2}}}, true},
    {35, {{1, 6, 6}, 2, {.size = {3, 3}, .padding = {1, 1}}}, true},  // several tasks
};

std::string text(const training::ConvolutionSettings& s, Index batch) {
  return std::to_string(batch) + " of " + to_string(s.input) + ", " +
         std::to_string(s.windows.size[0]) + " x " + std::to_string(s.windows.size[1]) + ", " +
         std::to_string(s.groups) + " groups";
}

const std::pair<Index, training::PoolingSettings> poolings[] = {
    {1, {{1, 1, 1}}},
    {2, {{3, 4, 6}, {}, {.size = {2, 2}, .stride = {2, 2}}}},
    {2, {{2, 7, 5}, {}, {.size = {3, 2}, .stride = {2, 1}, .padding = {1, 1}}}},
    {3, {{2, 5, 5}, {}, {.size = {3, 3}, .stride = {1, 1}, .padding = {1, 0}}}},
    {2, {{4, 3, 5}, {}, {.size = {3, 5}}}},  // all
    {1, {{1, 5, 5}, {}, {.size = {1, 2}, .stride = {3, 4}}}},
};

void add_images(std::vector<Case>& cases) {
  for (const auto& [batch, settings, has_bias] : convolutions) {
    std::vector<Shape<2>> shapes{{batch, settings.input.size()},
                                 {settings.channels, settings.taps()}};
    if (has_bias) shapes.push_back({1, settings.channels});
    const training::ConvolutionSettings s = settings;
    cases.push_back(
        make_case("convolution of " + text(s, batch), shapes,
                  [s]<class S>(const Matrices<S>& in, Matrices<S>* d, const Execution& execution) {
                    Matrix<S> y({in[0].rows(), s.output().size()});
                    training::convolution<S>(s, in[0], in[1], in_or_none(in, 2), y, execution);
                    if (d)
                      training::convolution_backward<S>(s, upstream_of(y), in[0], in[1], at(d, 1),
                                                        at_or_none(d, 2), at(d, 0), execution);
                    return y;
                  }));
  }
  for (const auto& [batch, settings] : poolings)
    for (const auto kind : {training::Pooling::maximum, training::Pooling::average}) {
      training::PoolingSettings s = settings;
      s.kind = kind;
      cases.push_back(make_case(
          std::string(kind == training::Pooling::maximum ? "maxima" : "averages") + " of " +
              to_string(s.input),
          {{batch, s.input.size()}},
          [s]<class S>(const Matrices<S>& in, Matrices<S>* d, const Execution& execution) {
            Matrix<S> y({in[0].rows(), s.output().size()});
            training::pooling<S>(s, in[0], y, execution);
            if (d) training::pooling_backward<S>(s, upstream_of(y), in[0], at(d, 0), execution);
            return y;
          }));
    }
}

const std::vector<Case>& all_cases() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> all;
    add_linear(all);
    add_norms(all);
    add_activations(all);
    add_attention(all);
    add_lookups(all);
    add_images(all);
    return all;
  }();
  return cases;
}

template <class S>
Matrices<S> zero_matrices(const std::vector<Shape<2>>& shapes) {
  Matrices<S> all;
  for (const Shape<2>& shape : shapes) all.emplace_back(shape);
  return all;
}

Matrices<double> random_matrices(const std::vector<Shape<2>>& shapes, std::uint64_t seed,
                                 double size = 1.0) {
  Random random(seed);
  Matrices<double> all = zero_matrices<double>(shapes);
  for (Matrix<double>& m : all)
    for (double& x : m) x = size * static_cast<double>(random.normal());
  return all;
}

double loss_of(const Case& c, const Matrices<double>& in) {
  const Matrix<double> y = c.run(in, nullptr, {});
  double loss = 0.0;
  for (Index i = 0; i < y.size(); ++i) loss += (upstream(0.0, i) + 0.5 * y.data()[i]) * y.data()[i];
  return loss;
}

Matrices<double> gradients_of(const Case& c, const Matrices<double>& in) {
  Matrices<double> gradients = zero_matrices<double>(c.shapes);
  (void)c.run(in, &gradients, {});
  return gradients;
}

double dot(const Matrices<double>& a, const Matrices<double>& b) {
  double sum = 0.0;
  for (std::size_t m = 0; m < a.size(); ++m)
    for (Index i = 0; i < a[m].size(); ++i) sum += a[m].data()[i] * b[m].data()[i];
  return sum;
}

double largest_of(const Matrices<double>& all) {
  double largest = 0.0;
  for (const Matrix<double>& m : all)
    for (const double x : m) largest = std::max(largest, std::fabs(x));
  return largest;
}

Matrices<double> moved(Matrices<double> from, const Matrices<double>& along, double distance) {
  for (std::size_t m = 0; m < from.size(); ++m)
    for (Index i = 0; i < from[m].size(); ++i) from[m].data()[i] += distance * along[m].data()[i];
  return from;
}

/// H v, and the gradient, by dual numbers.
struct Product {
  Matrices<double> gradient, hessian;
};
Product hessian_product(const Case& c, const Matrices<double>& in, const Matrices<double>& v) {
  using D = Dual<double>;
  Matrices<D> dual = zero_matrices<D>(c.shapes), gradients = zero_matrices<D>(c.shapes);
  for (std::size_t m = 0; m < in.size(); ++m)
    for (Index i = 0; i < in[m].size(); ++i) dual[m].data()[i] = {in[m].data()[i], v[m].data()[i]};
  (void)c.dual(dual, &gradients, {});
  Product product{zero_matrices<double>(c.shapes), zero_matrices<double>(c.shapes)};
  for (std::size_t m = 0; m < in.size(); ++m)
    for (Index i = 0; i < in[m].size(); ++i) {
      product.gradient[m].data()[i] = gradients[m].data()[i].value;
      product.hessian[m].data()[i] = gradients[m].data()[i].tangent;
    }
  return product;
}

}  // namespace

TEST_CASE("gradients of every operation agree with central differences") {
  for (const Case& c : all_cases()) {
    CAPTURE(c.name);
    const Matrices<double> in = random_matrices(c.shapes, 3, c.size);
    const Matrices<double> gradients = gradients_of(c, in);
    Matrices<double> trial = in;
    const double tolerance = 1e-7 * (1.0 + largest_of(gradients));
    for (std::size_t m = 0; m < in.size(); ++m)
      for (Index i = 0; i<in[m].size(); i += in[m].size()> 200 ? 7 : 1) {
        constexpr double step = 1e-5;
        double& x = trial[m].data()[i];
        const double before = x;
        x = before + step;
        const double above = loss_of(c, trial);
        x = before - step;
        const double below = loss_of(c, trial);
        x = before;
        const double difference = (above - below) / (2 * step);
        if (std::fabs(gradients[m].data()[i] - difference) > tolerance) {
          CAPTURE(m, i, difference, gradients[m].data()[i]);
          FAIL_CHECK("the gradient is wrong");
          break;
        }
      }
  }
}

TEST_CASE("products of every operation with its Hessian are symmetric and those of differences") {
  for (const Case& c : all_cases()) {
    CAPTURE(c.name);
    const Matrices<double> in = random_matrices(c.shapes, 4, c.size);
    const Matrices<double> u = random_matrices(c.shapes, 5), v = random_matrices(c.shapes, 6);
    const Product along_v = hessian_product(c, in, v), along_u = hessian_product(c, in, u);
    const double uhv = dot(u, along_v.hessian), vhu = dot(v, along_u.hessian);
    const double size = largest_of(along_v.hessian);
    CHECK(std::fabs(uhv - vhu) <= 1e-11 * (size * static_cast<double>(in[0].size()) + 1e-3));
    const Matrices<double> gradients = gradients_of(c, in);
    constexpr double step = 1e-5;
    const Matrices<double> above = gradients_of(c, moved(in, v, step));
    const Matrices<double> below = gradients_of(c, moved(in, v, -step));
    double worst = 0.0, worst_gradient = 0.0;
    for (std::size_t m = 0; m < in.size(); ++m)
      for (Index i = 0; i < in[m].size(); ++i) {
        worst = std::max(worst, std::fabs(along_v.hessian[m].data()[i] -
                                          (above[m].data()[i] - below[m].data()[i]) / (2 * step)));
        worst_gradient = std::max(
            worst_gradient, std::fabs(along_v.gradient[m].data()[i] - gradients[m].data()[i]));
      }
    CHECK(worst <= 1e-6 * (size + 1e-3));
    CHECK(worst_gradient <= 1e-12 * (largest_of(gradients) + 1e-3));
  }
}

TEST_CASE("operations in float are those in double, the same bits for any threads") {
  ThreadPool pool(3);
  for (const Case& c : all_cases()) {
    CAPTURE(c.name);
    const Matrices<double> in = random_matrices(c.shapes, 7, c.size);
    Matrices<float> single = zero_matrices<float>(c.shapes);
    for (std::size_t m = 0; m < in.size(); ++m)
      for (Index i = 0; i < in[m].size(); ++i)
        single[m].data()[i] = static_cast<float>(in[m].data()[i]);
    Matrices<float> own = zero_matrices<float>(c.shapes), other = zero_matrices<float>(c.shapes);
    const Matrix<float> y = c.single(single, &own, {});
    CHECK(c.single(single, &other, {.parallel_for = pool}) == y);
    CHECK(own == other);
    const Matrices<double> expected = gradients_of(c, in);
    double worst = 0.0;
    for (std::size_t m = 0; m < in.size(); ++m)
      for (Index i = 0; i < in[m].size(); ++i)
        worst = std::max(worst,
                         std::fabs(static_cast<double>(own[m].data()[i]) - expected[m].data()[i]));
    CHECK(worst <= 5e-6 * (largest_of(expected) + 1e-3));
  }
}

TEST_CASE("convolutions are the sums that they are defined by") {
  for (const auto& [batch, s, has_bias] : convolutions) {
    CAPTURE(text(s, batch));
    const auto in =
        random_matrices({{batch, s.input.size()}, {s.channels, s.taps()}, {1, s.channels}}, 8);
    const training::ImageShape out = s.output();
    Matrix<double> y({batch, out.size()});
    training::convolution<double>(s, in[0], in[1], in[2], y, {});
    const Index inputs = s.input.channels / s.groups, outputs = s.channels / s.groups;
    double worst = 0.0;
    for (Index n = 0; n < batch; ++n)
      for (Index o = 0; o < s.channels; ++o)
        for (Index row = 0; row < out.height; ++row)
          for (Index col = 0; col < out.width; ++col) {
            double sum = in[2](0, o);
            for (Index c = 0; c < inputs; ++c)
              for (Index ky = 0; ky < s.windows.size[0]; ++ky)
                for (Index kx = 0; kx < s.windows.size[1]; ++kx) {
                  const Index iy = row * s.windows.stride[0] + ky - s.windows.padding[0];
                  const Index ix = col * s.windows.stride[1] + kx - s.windows.padding[1];
                  if (iy < 0 || ix < 0 || iy >= s.input.height || ix >= s.input.width) continue;
                  const Index channel = o / outputs * inputs + c;
                  sum += in[1](o, (c * s.windows.size[0] + ky) * s.windows.size[1] + kx) *
                         in[0](n, (channel * s.input.height + iy) * s.input.width + ix);
                }
            worst =
                std::max(worst, std::fabs(sum - y(n, (o * out.height + row) * out.width + col)));
          }
    CHECK(worst <= 1e-12);
  }
}

namespace {

/// Small numbers of both signs, without a pattern that windows would see.
Matrix<double> mixed_numbers(Index rows, Index cols) {
  Matrix<double> x({rows, cols});
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<double>(i * 7 % 11 - 5) / 4.0;
  return x;
}

void check_values(const Matrix<double>& own, const std::vector<double>& expected) {
  REQUIRE(own.size() == std::ssize(expected));
  for (Index i = 0; i < own.size(); ++i)
    CHECK(own.data()[i] == Approx(expected[static_cast<std::size_t>(i)]).epsilon(1e-12));
}

}  // namespace

TEST_CASE("pooling and batch norm compute what PyTorch does") {
  // torch 2.15, in float64.
  training::PoolingSettings windows{
      {2, 3, 4}, {}, {.size = {2, 3}, .stride = {1, 2}, .padding = {1, 1}}};
  const Matrix<double> image = mixed_numbers(1, 24);
  Matrix<double> pooled({1, windows.output().size()});
  training::pooling<double>(windows, image, pooled, {});
  check_values(pooled, {0.5, 1.25, 0.5, 1.25, 0.75, 1.0, 0.75, 0.75, 0.5, 1.25, 1.0, 1.25, 1.0, 1.0,
                        0.75, 0.5});
  windows.kind = training::Pooling::average;
  training::pooling<double>(windows, image, pooled, {});
  const double third = 1.0 / 24.0;
  check_values(pooled, {-3 * third, 5 * third, -5 * third, 6 * third, -3 * third, -2 * third,
                        -third, -3 * third, 0, 4 * third, third, 4 * third, 3 * third, -4 * third,
                        2 * third, -4 * third});

  const training::BatchNormSettings settings{{2, 1, 3}, 1e-2, 0.25};
  const Matrix<double> x = mixed_numbers(2, 6);
  Matrix<double> weight({1, 2}), bias({1, 2}), statistics({2, 2}), running({2, 2}), y({2, 6});
  weight(0, 0) = 1.5, weight(0, 1) = -0.5, bias(0, 0) = 0.25, bias(0, 1) = 2.0;
  running(1, 0) = running(1, 1) = 1.0;
  training::batch_statistics<double>(settings, x, statistics, running, {});
  training::batch_norm<double>(settings, x, statistics, weight, bias, y, {});
  check_values(y, {-1.6975330254198189, 1.574322457285477, -0.29530924711754925, 1.273042819812349,
                   1.8546085639624699, 2.436174308112591, 2.50913830948699, 0.6395066050839638,
                   -1.2301250993190624, 1.5638256918874094, 2.14539143603753, 2.726957180187651});
  check_values(running, {-0.052083333333333336, 0.0, 0.9401041666666667, 0.96875});
  training::running_statistics<double>(settings, running, statistics);
  training::batch_norm<double>(settings, x, statistics, weight, bias, y, {});
  check_values(y,
               {-1.5934537876279495, 1.0995917456024462, -0.43929141624349416, 1.3682516303509138,
                1.8736503260701827, 2.3790490217894518, 1.8690333265254164, 0.33015016467947605,
                -1.2087329971664644, 1.6209509782105482, 2.126349673929817, 2.6317483696490864});
}

TEST_CASE("shapes that images do not have are refused") {
  using Convolution = training::ConvolutionSettings;
  CHECK_THROWS_WITH((Convolution{{3, 5, 5}, 4, {}, 2}.output()),
                    ContainsSubstring("2 groups do not divide 3 channels"));
  CHECK_THROWS_WITH((Convolution{{3, 2, 5}, 4, {.size = {3, 3}}}.output()),
                    ContainsSubstring("a window of 3 x 3 does not fit an image of 3 x 2 x 5"));
  CHECK_THROWS_WITH((Convolution{{3, 5, 5}, 4, {.stride = {0, 1}}}.output()),
                    ContainsSubstring("a stride of at least 1"));
  CHECK_THROWS_WITH((training::PoolingSettings{
                        {1, 4, 4}, {}, {.size = {2, 2}, .stride = {2, 2}, .padding = {2, 0}}}
                         .output()),
                    ContainsSubstring("more than half a window"));
  Matrix<double> x({1, 3}), statistics({2, 3});
  CHECK_THROWS_WITH(training::batch_statistics<double>({{3}}, x, statistics, statistics, {}),
                    ContainsSubstring("more than one value a channel"));
}

TEST_CASE("tokens that are not seen are as if they were not there") {
  // The tokens 0, 2 and 3 of 5 are seen.
  const std::vector<std::uint8_t> visible{1, 0, 1, 1, 0};
  const Matrices<double> in = random_matrices({{5, 6}, {5, 6}, {5, 6}}, 9);
  const auto attend = [](const Matrices<double>& x, std::span<const std::uint8_t> seen) {
    const Index length = x[0].rows();
    Matrix<double> y(x[0].shape()), p({2 * length, length});
    const training::AttentionSettings s{.heads = 2,
                                        .kv_heads = 2,
                                        .head_dim = 3,
                                        .length = length,
                                        .causal = false,
                                        .visible = seen};
    training::attention<double>(s, x[0], x[1], x[2], p, y, {});
    return y;
  };
  Matrices<double> few = zero_matrices<double>({{3, 6}, {3, 6}, {3, 6}});
  const Index rows[] = {0, 2, 3};
  for (std::size_t m = 0; m < 3; ++m)
    for (Index t = 0; t < 3; ++t) copy(in[m].view().row(rows[t]), few[m].view().row(t));
  const Matrix<double> all = attend(in, visible), expected = attend(few, {});
  for (Index t = 0; t < 3; ++t)
    for (Index j = 0; j < 6; ++j) CHECK(all(rows[t], j) == Approx(expected(t, j)).epsilon(1e-12));
}
