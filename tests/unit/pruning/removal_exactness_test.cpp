/// Outputs of small networks in plain loops, with channels that are zero and with channels that are
/// removed: equal to the last bit.

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pare/core/random.hpp"
#include "pare/pruning/structure/dependency_graph.hpp"
#include "pare/pruning/structure/select_channels.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace networks {
namespace {

using Signal = std::vector<double>;
using Rows = std::vector<Signal>;  // [token][channel], or [channel][y * width + x]

struct Values {
  std::vector<Index> shape;
  std::vector<std::string> axes;
  std::vector<double> v;

  double operator()(Index i) const { return v[static_cast<std::size_t>(i)]; }
  double operator()(Index i, Index j) const { return (*this)(i * shape[1] + j); }
  double operator()(Index i, Index j, Index k, Index l) const {
    return (*this)(((i * shape[1] + j) * shape[2] + k) * shape[3] + l);
  }
};

/// A graph, its tensors, and what they compute.
struct Network {
  DependencyGraph graph;
  std::map<std::string, Values> tensors;
  std::function<Rows(const Network&)> forward;
  Random random{11};

  void tensor(const std::string& name, const std::vector<Index>& shape,
              const std::vector<std::string>& axes) {
    graph.add_tensor(name, shape, axes);
    Index count = 1;
    for (const Index extent : shape) count *= extent;
    Values& values = tensors[name] = {shape, axes, {}};
    for (Index i = 0; i < count; ++i) values.v.push_back(static_cast<double>(random.normal()));
  }
  /// NAME [out, in] and NAME.bias; in GPT-2's way [in, out].
  void linear(const std::string& name, Index out, Index in, bool transposed = false) {
    if (transposed)
      tensor(name, {in, out}, {"in", "out"});
    else
      tensor(name, {out, in}, {"out", "in"});
    tensor(name + ".bias", {out}, {"out"});
    graph.couple({name, "out"}, {name + ".bias"});
  }
  void convolution(const std::string& name, Index out, Index in, Index size) {
    tensor(name, {out, in, size, size}, {"out", "in", "height", "width"});
    tensor(name + ".bias", {out}, {"out"});
    graph.couple({name, "out"}, {name + ".bias"});
  }
  void batch_norm(const std::string& name, Index channels, const AxisName& of) {
    for (const char* part : {".gamma", ".beta", ".mean", ".variance"}) {
      tensor(name + part, {channels}, {"out"});
      graph.couple(of, {name + part});
    }
    for (double& v : tensors[name + ".variance"].v) v = v * v + 0.1;
  }
  const Values& at(const std::string& name) const { return tensors.at(name); }
};

double at(const Signal& x, Index i) { return x[static_cast<std::size_t>(i)]; }

Rows linear(const Network& net, const std::string& name, const Rows& x, bool transposed = false) {
  const Values &w = net.at(name), &b = net.at(name + ".bias");
  const Index out = b.shape[0], in = w.shape[transposed ? 0 : 1];
  Rows y;
  for (const Signal& row : x) {
    REQUIRE(static_cast<Index>(row.size()) == in);
    Signal& result = y.emplace_back();
    for (Index o = 0; o < out; ++o) {
      double sum = b(o);
      for (Index i = 0; i < in; ++i) sum += (transposed ? w(i, o) : w(o, i)) * at(row, i);
      result.push_back(sum);
    }
  }
  return y;
}

/// Without padding, of pictures that are square.
Rows convolution(const Network& net, const std::string& name, const Rows& x, Index groups = 1) {
  const Values &w = net.at(name), &b = net.at(name + ".bias");
  const auto channels = static_cast<Index>(x.size());
  const auto size = static_cast<Index>(std::lround(std::sqrt(x.front().size())));
  const Index out = w.shape[0], in = w.shape[1], k = w.shape[2], result = size - k + 1;
  REQUIRE(channels == in * groups);
  REQUIRE(out % groups == 0);
  Rows y;
  for (Index o = 0; o < out; ++o) {
    Signal& picture = y.emplace_back();
    for (Index r = 0; r < result; ++r)
      for (Index c = 0; c < result; ++c) {
        double sum = b(o);
        for (Index i = 0; i < in; ++i)
          for (Index u = 0; u < k; ++u)
            for (Index v = 0; v < k; ++v)
              sum += w(o, i, u, v) * at(x[static_cast<std::size_t>(o / (out / groups) * in + i)],
                                        (r + u) * size + c + v);
        picture.push_back(sum);
      }
  }
  return y;
}

Rows batch_norm(const Network& net, const std::string& name, Rows x) {
  for (std::size_t c = 0; c < x.size(); ++c) {
    const auto i = static_cast<Index>(c);
    for (double& v : x[c])
      v = net.at(name + ".gamma")(i) * (v - net.at(name + ".mean")(i)) /
              std::sqrt(net.at(name + ".variance")(i) + 1e-5) +
          net.at(name + ".beta")(i);
  }
  return x;
}

Rows layer_norm(const Network& net, const std::string& name, Rows x) {
  for (Signal& row : x) {
    double mean = 0.0, variance = 0.0;
    for (const double v : row) mean += v / static_cast<double>(row.size());
    for (const double v : row)
      variance += (v - mean) * (v - mean) / static_cast<double>(row.size());
    for (std::size_t i = 0; i < row.size(); ++i)
      row[i] = net.at(name)(static_cast<Index>(i)) * (row[i] - mean) / std::sqrt(variance + 1e-5);
  }
  return x;
}

Rows map(Rows x, double (*f)(double)) {
  for (Signal& row : x)
    for (double& v : row) v = f(v);
  return x;
}
double relu_of(double v) { return v > 0.0 ? v : 0.0; }
double silu_of(double v) { return v / (1.0 + std::exp(-v)); }
Rows relu(const Rows& x) { return map(x, relu_of); }
Rows combine(Rows a, const Rows& b, double (*f)(double, double)) {
  for (std::size_t t = 0; t < a.size(); ++t) {
    REQUIRE(a[t].size() == b[t].size());
    for (std::size_t i = 0; i < a[t].size(); ++i) a[t][i] = f(a[t][i], b[t][i]);
  }
  return a;
}
Rows add(const Rows& a, const Rows& b) {
  return combine(a, b, [](double x, double y) { return x + y; });
}
Rows multiply(const Rows& a, const Rows& b) {
  return combine(a, b, [](double x, double y) { return x * y; });
}
Rows concatenate(Rows a, const Rows& b) {
  for (std::size_t t = 0; t < a.size(); ++t) a[t].insert(a[t].end(), b[t].begin(), b[t].end());
  return a;
}
/// Channels first, first + step * ..., in runs.
Rows part(const Rows& x, Index first, Index length, Index runs = 1, Index step = 0) {
  Rows result;
  for (const Signal& row : x) {
    Signal& taken = result.emplace_back();
    for (Index r = 0; r < runs; ++r)
      for (Index i = 0; i < length; ++i) taken.push_back(at(row, first + r * step + i));
  }
  return result;
}
Rows flatten(const Rows& x, bool channels_last) {
  Signal row;
  if (channels_last) {
    for (std::size_t p = 0; p < x.front().size(); ++p)
      for (const Signal& picture : x) row.push_back(picture[p]);
  } else {
    for (const Signal& picture : x) row.insert(row.end(), picture.begin(), picture.end());
  }
  return {row};
}

/// Causal; the scale is not that of head_dim, which may change.
Rows attention(const Rows& q, const Rows& k, const Rows& v, Index heads, Index kv_heads) {
  const auto of_query = static_cast<Index>(q.front().size()) / heads,
             of_value = static_cast<Index>(v.front().size()) / kv_heads;
  REQUIRE(of_query * heads == static_cast<Index>(q.front().size()));
  REQUIRE(of_query * kv_heads == static_cast<Index>(k.front().size()));
  REQUIRE(heads % kv_heads == 0);
  Rows result(q.size());
  for (std::size_t t = 0; t < q.size(); ++t)
    for (Index h = 0; h < heads; ++h) {
      const Index kv = h / (heads / kv_heads);
      Signal weights;
      double sum = 0.0;
      for (std::size_t s = 0; s <= t; ++s) {
        double score = 0.0;
        for (Index d = 0; d < of_query; ++d)
          score += at(q[t], h * of_query + d) * at(k[s], kv * of_query + d);
        weights.push_back(std::exp(0.3 * score));
        sum += weights.back();
      }
      for (Index d = 0; d < of_value; ++d) {
        double value = 0.0;
        for (std::size_t s = 0; s <= t; ++s)
          value += weights[s] / sum * at(v[s], kv * of_value + d);
        result[t].push_back(value);
      }
    }
  return result;
}

/// Rotates the halves of each head.
Rows rotate(Rows x, const Values& frequencies, Index heads) {
  const Index half = frequencies.shape[0];
  for (std::size_t t = 0; t < x.size(); ++t)
    for (Index h = 0; h < heads; ++h)
      for (Index i = 0; i < half; ++i) {
        double& a = x[t][static_cast<std::size_t>(2 * half * h + i)];
        double& b = x[t][static_cast<std::size_t>(2 * half * h + half + i)];
        const double angle = static_cast<double>(t) * frequencies(i), x0 = a, x1 = b;
        a = x0 * std::cos(angle) - x1 * std::sin(angle);
        b = x1 * std::cos(angle) + x0 * std::sin(angle);
      }
  return x;
}

Rows inputs(Index tokens, Index channels) {
  Random random(5);
  Rows x;
  for (Index t = 0; t < tokens; ++t) {
    Signal& row = x.emplace_back();
    for (Index i = 0; i < channels; ++i) row.push_back(static_cast<double>(random.normal()));
  }
  return x;
}

/// The network after its graph lost channels.
Network smaller(const Network& net) {
  Network result = net;
  for (auto& tensor : result.tensors) {
    const std::string& name = tensor.first;
    Values& values = tensor.second;
    const auto cut = [&]<std::size_t Rank>() {
      Shape<Rank> shape;
      std::copy_n(values.shape.begin(), Rank, shape.begin());
      const auto taken = net.graph.slice(name, TensorView<const double, Rank>(values.v, shape));
      values.shape.assign(taken.shape().begin(), taken.shape().end());
      values.v.assign(taken.begin(), taken.end());
    };
    if (values.shape.size() == 1) cut.operator()<1>();
    if (values.shape.size() == 2) cut.operator()<2>();
    if (values.shape.size() == 4) cut.operator()<4>();
    CHECK(values.shape == net.graph.shape(name));
  }
  return result;
}

enum class Zeroed { producers, consumers };

/// Zeros in what writes the channels, or in what reads them.
Network zeroed(const Network& net, const ChannelGroup& group, const std::vector<Index>& channels,
               Zeroed which) {
  Network result = net;
  for (const ChannelGroup::Member& member : group.members) {
    if (!member.stored || (member.axis.axis == "in") != (which == Zeroed::consumers)) continue;
    Values& values = result.tensors.at(member.axis.tensor);
    const auto axis = static_cast<std::size_t>(
        std::find(values.axes.begin(), values.axes.end(), member.axis.axis) - values.axes.begin());
    const Index extent = values.shape[axis];
    Index inner = 1;
    for (std::size_t d = axis + 1; d < values.shape.size(); ++d) inner *= values.shape[d];
    for (const Index channel : channels)
      for (const Index i : member.of(channel))
        for (std::size_t e = 0; e < values.v.size(); ++e)
          if (static_cast<Index>(e) / inner % extent == i) values.v[e] = 0.0;
  }
  return result;
}

/// Half of the channels that may go, by scores of no meaning.
std::vector<Index> some_channels(const ChannelGroup& group, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> scores;
  for (Index c = 0; c < group.channels(); ++c)
    scores.push_back(static_cast<double>(random.uniform()));
  return select_channels(group, scores, {.ratio = 0.5});
}

struct NetworkCase {
  const char* name;
  std::function<Network()> make;
  /// Channels of each group that may lose some: what is coupled is to be seen here.
  std::vector<Index> channels;
  /// The layers that write a channel give 0 when they are zero. Not where a query head goes and its
  /// value stays: attention without scores is the mean of values.
  bool maps_zero_to_zero = true;
};

Network chain() {
  Network net;
  net.linear("up", 7, 4);
  net.linear("middle", 6, 7);
  net.linear("down", 3, 6);
  net.graph.couple({"up", "out"}, {"middle", "in"});
  net.graph.couple({"middle", "out"}, {"down", "in"});
  net.graph.keep({"down", "out"});
  net.forward = [](const Network& n) {
    const Rows x = relu(linear(n, "up", inputs(3, 4)));
    return linear(n, "down", relu(linear(n, "middle", x)));
  };
  return net;
}

Network residual() {
  Network net;
  net.linear("embed", 6, 3);
  net.linear("up", 5, 6);
  net.linear("down", 6, 5);
  net.linear("head", 2, 6);
  net.graph.add_channels("hidden", 6);
  for (const AxisName& axis :
       {AxisName{"embed", "out"}, {"up", "in"}, {"down", "out"}, {"head", "in"}})
    net.graph.couple({"hidden"}, axis);
  net.graph.couple({"up", "out"}, {"down", "in"});
  net.graph.keep({"head", "out"});
  net.graph.declare({.name = "hidden_size", .axis = {"hidden"}});
  net.forward = [](const Network& n) {
    Rows x = linear(n, "embed", inputs(3, 3));
    CHECK(static_cast<Index>(x.front().size()) == n.graph.attribute("hidden_size"));
    x = add(x, linear(n, "down", relu(linear(n, "up", x))));
    return linear(n, "head", x);
  };
  return net;
}

Network concatenation() {
  Network net;
  net.linear("a", 4, 3);
  net.linear("b", 5, 3);
  net.linear("head", 2, 9);
  net.graph.couple({"a", "out"}, {"head", "in"}, Concatenated{0});
  net.graph.couple({"b", "out"}, {"head", "in"}, Concatenated{4});
  net.graph.keep({"head", "out"});
  net.forward = [](const Network& n) {
    const Rows x = inputs(3, 3);
    return linear(n, "head", concatenate(relu(linear(n, "a", x)), relu(linear(n, "b", x))));
  };
  return net;
}

Network split() {
  Network net;
  net.linear("both", 9, 3);
  net.linear("a", 2, 4);
  net.linear("b", 2, 5);
  net.graph.couple({"a", "in"}, {"both", "out"}, Concatenated{0});
  net.graph.couple({"b", "in"}, {"both", "out"}, Concatenated{4});
  net.graph.keep({"a", "out"});
  net.graph.keep({"b", "out"});
  net.graph.declare({.name = "first", .axis = {"a", "in"}});
  net.forward = [](const Network& n) {
    const Rows x = linear(n, "both", inputs(3, 3));
    const Index first = n.graph.attribute("first");
    const Index rest = static_cast<Index>(x.front().size()) - first;
    return add(linear(n, "a", part(x, 0, first)), linear(n, "b", part(x, first, rest)));
  };
  return net;
}

/// Convolutions with batch norms, and a linear layer on all of the picture.
template <bool ChannelsLast>
Network flattened() {
  Network net;
  net.convolution("first", 6, 2, 3);
  net.batch_norm("norm", 6, {"first", "out"});
  net.convolution("second", 5, 6, 3);
  net.linear("head", 3, 20);
  net.graph.couple({"first", "out"}, {"second", "in"});
  if (ChannelsLast)
    net.graph.couple({"second", "out"}, {"head", "in"}, Repeated{});
  else
    net.graph.couple({"second", "out"}, {"head", "in"}, Flattened{4});
  net.graph.keep({"head", "out"});
  net.forward = [](const Network& n) {
    Rows x = relu(batch_norm(n, "norm", convolution(n, "first", inputs(2, 36))));
    x = relu(convolution(n, "second", x));
    return linear(n, "head", flatten(x, ChannelsLast));
  };
  return net;
}

Network depthwise() {
  Network net;
  net.convolution("expand", 6, 2, 1);
  net.convolution("depthwise", 6, 1, 3);
  net.batch_norm("norm", 6, {"depthwise", "out"});
  net.convolution("project", 3, 6, 1);
  net.graph.couple({"expand", "out"}, {"depthwise", "out"});
  net.graph.couple({"depthwise", "out"}, {"project", "in"});
  net.graph.keep({"project", "out"});
  net.graph.declare({.name = "groups", .axis = {"depthwise", "out"}});
  net.forward = [](const Network& n) {
    const Rows x = relu(convolution(n, "expand", inputs(2, 25)));
    return convolution(
        n, "project",
        relu(batch_norm(n, "norm", convolution(n, "depthwise", x, n.graph.attribute("groups")))));
  };
  return net;
}

/// The same places in each of two groups, before and after the grouped convolution.
Network grouped_places() {
  Network net;
  net.convolution("first", 8, 2, 1);
  net.convolution("grouped", 6, 4, 3);
  net.convolution("last", 3, 6, 1);
  net.graph.couple({"grouped", "in"}, {"first", "out"}, Repeated{});
  net.graph.add_channels("places", 3);
  net.graph.couple({"places"}, {"grouped", "out"}, Repeated{});
  net.graph.couple({"grouped", "out"}, {"last", "in"});
  net.graph.keep({"last", "out"});
  net.graph.declare(
      {.name = "groups", .axis = {"first", "out"}, .divisor_axis = {"grouped", "in"}});
  net.forward = [](const Network& n) {
    Rows x = relu(convolution(n, "first", inputs(2, 25)));
    x = convolution(n, "grouped", x, n.graph.attribute("groups"));
    return convolution(n, "last", relu(x));
  };
  return net;
}

/// Whole groups.
Network grouped_whole() {
  Network net;
  net.convolution("first", 8, 2, 1);
  net.convolution("grouped", 12, 2, 3);
  net.convolution("last", 3, 12, 1);
  net.graph.add_channels("groups", 4);
  net.graph.couple({"groups"}, {"first", "out"}, Flattened{2});
  net.graph.couple({"groups"}, {"grouped", "out"}, Flattened{3});
  net.graph.couple({"grouped", "out"}, {"last", "in"});
  net.graph.keep({"last", "out"});
  net.graph.declare({.name = "groups", .axis = {"groups"}});
  net.forward = [](const Network& n) {
    Rows x = relu(convolution(n, "first", inputs(2, 25)));
    x = convolution(n, "grouped", x, n.graph.attribute("groups"));
    return convolution(n, "last", relu(x));
  };
  return net;
}

constexpr Index head_dim = 4, hidden = 5;

/// Query, key and value of four heads in two groups.
Network attention_layers() {
  Network net;
  net.linear("q", 4 * head_dim, hidden);
  net.linear("k", 2 * head_dim, hidden);
  net.linear("v", 2 * head_dim, hidden);
  net.linear("o", 3, 4 * head_dim);
  net.tensor("rope", {head_dim / 2}, {"out"});
  net.graph.keep({"o", "out"});
  net.forward = [](const Network& n) {
    const Rows x = inputs(4, hidden);
    const Index heads = n.graph.attribute("heads"), kv_heads = n.graph.attribute("kv_heads");
    const Rows q = rotate(linear(n, "q", x), n.at("rope"), heads),
               k = rotate(linear(n, "k", x), n.at("rope"), kv_heads);
    return linear(n, "o", attention(q, k, linear(n, "v", x), heads, kv_heads));
  };
  return net;
}

/// A key-value head goes with all its queries.
Network key_value_groups() {
  Network net = attention_layers();
  net.graph.add_channels("kv_heads", 2);
  net.graph.couple({"kv_heads"}, {"q", "out"}, Flattened{2 * head_dim});
  net.graph.couple({"kv_heads"}, {"o", "in"}, Flattened{2 * head_dim});
  net.graph.couple({"kv_heads"}, {"k", "out"}, Flattened{head_dim});
  net.graph.couple({"kv_heads"}, {"v", "out"}, Flattened{head_dim});
  net.graph.declare({.name = "heads", .axis = {"q", "out"}, .divisor = head_dim});
  net.graph.declare({.name = "kv_heads", .axis = {"k", "out"}, .divisor = head_dim});
  return net;
}

/// As many query heads of each key-value head, which stay.
Network query_heads() {
  Network net = attention_layers();
  net.graph.add_channels("heads", 4);
  net.graph.couple({"heads"}, {"q", "out"}, Flattened{head_dim});
  net.graph.couple({"heads"}, {"o", "in"}, Flattened{head_dim});
  net.graph.balance({"heads"}, 2);
  net.graph.keep({"k", "out"});
  net.graph.keep({"v", "out"});
  net.graph.declare({.name = "heads", .axis = {"heads"}});
  net.graph.declare({.name = "kv_heads", .axis = {"k", "out"}, .divisor = head_dim});
  return net;
}

/// The same pairs that turn together in all queries and keys, and the same places of all values.
Network head_dimensions() {
  Network net = attention_layers();
  net.graph.add_channels("dimensions", head_dim);
  net.graph.couple({"rope"}, {"dimensions"}, Repeated{});
  net.graph.couple({"dimensions"}, {"q", "out"}, Repeated{});
  net.graph.couple({"dimensions"}, {"k", "out"}, Repeated{});
  net.graph.add_channels("value dimensions", head_dim);
  net.graph.couple({"value dimensions"}, {"v", "out"}, Repeated{});
  net.graph.couple({"v", "out"}, {"o", "in"}, ExpandedHeads{.times = 2, .head_dim = head_dim});
  net.graph.declare({.name = "heads", .axis = {"q", "out"}, .divisor_axis = {"dimensions"}});
  net.graph.declare({.name = "kv_heads", .axis = {"k", "out"}, .divisor_axis = {"dimensions"}});
  return net;
}

/// GPT-2's: one layer for query, key and value, a block each; weights stored [in, out].
template <bool Interleaved>
Network fused() {
  Network net;
  net.linear("qkv", 3 * 4 * head_dim, hidden, true);
  net.linear("o", 3, 4 * head_dim, true);
  net.graph.keep({"o", "out"});
  net.graph.add_channels("heads", 4);
  Index k = 0;
  for (const char* role : {"q", "k", "v"}) {
    net.graph.add_channels(role, 4 * head_dim);
    net.graph.couple({"heads"}, {role}, Flattened{head_dim});
    if (Interleaved)
      net.graph.couple(
          {role}, {"qkv", "out"},
          FusedPart{.first = k * head_dim, .length = head_dim, .runs = 4, .step = 3 * head_dim});
    else
      net.graph.couple({role}, {"qkv", "out"},
                       FusedPart{.first = k * 4 * head_dim, .length = 4 * head_dim});
    ++k;
  }
  net.graph.couple({"v"}, {"o", "in"});
  net.graph.declare({.name = "heads", .axis = {"qkv", "out"}, .divisor = 3 * head_dim});
  net.forward = [](const Network& n) {
    const Rows qkv = linear(n, "qkv", inputs(4, hidden), true);
    const Index heads = n.graph.attribute("heads");
    const auto role = [&](Index i) {
      return Interleaved ? part(qkv, i * head_dim, head_dim, heads, 3 * head_dim)
                         : part(qkv, i * heads * head_dim, heads * head_dim);
    };
    return linear(n, "o", attention(role(0), role(1), role(2), heads, heads), true);
  };
  return net;
}

template <bool Fused>
Network gated() {
  Network net;
  if (Fused) {
    net.linear("gate_up", 14, 4);
  } else {
    net.linear("gate", 7, 4);
    net.linear("up", 7, 4);
  }
  net.linear("down", 3, 7);
  net.graph.keep({"down", "out"});
  if (Fused) {
    net.graph.couple({"down", "in"}, {"gate_up", "out"}, Concatenated{0});
    net.graph.couple({"down", "in"}, {"gate_up", "out"}, Concatenated{7});
  } else {
    net.graph.couple({"gate", "out"}, {"down", "in"});
    net.graph.couple({"up", "out"}, {"down", "in"});
  }
  net.forward = [](const Network& n) {
    const Rows x = inputs(3, 4);
    Rows gate, up;
    if (Fused) {
      const Rows both = linear(n, "gate_up", x);
      const Index half = static_cast<Index>(both.front().size()) / 2;
      gate = part(both, 0, half);
      up = part(both, half, half);
    } else {
      gate = linear(n, "gate", x);
      up = linear(n, "up", x);
    }
    return linear(n, "down", multiply(map(gate, silu_of), up));
  };
  return net;
}

Network with_layer_norm() {
  Network net;
  net.linear("embed", 6, 3);
  net.tensor("norm", {6}, {"out"});
  net.linear("head", 2, 6);
  net.graph.couple({"embed", "out"}, {"norm"});
  net.graph.couple({"norm"}, {"head", "in"});
  net.graph.keep({"head", "out"});
  net.forward = [](const Network& n) {
    return linear(n, "head", layer_norm(n, "norm", linear(n, "embed", inputs(3, 3))));
  };
  return net;
}

const std::vector<NetworkCase> network_cases{
    {"chain of linear layers", chain, {7, 6}},
    {"residual sum", residual, {6, 5}},
    {"concatenation", concatenation, {4, 5}},
    {"split", split, {4, 5}},
    {"convolution, channels first", flattened<false>, {6, 5}},
    {"convolution, channels last", flattened<true>, {6, 5}},
    {"depthwise convolution", depthwise, {6}},
    {"grouped convolution, places", grouped_places, {4, 3}},
    {"grouped convolution, groups", grouped_whole, {4}},
    {"key-value groups", key_value_groups, {2}},
    {"query heads", query_heads, {4}, false},
    {"dimensions of heads", head_dimensions, {4, 2}},
    {"fused in blocks", fused<false>, {4}},
    {"fused, interleaved", fused<true>, {4}},
    {"gated", gated<false>, {7}},
    {"gated and fused", gated<true>, {7}},
};

}  // namespace

TEST_CASE("channels that are zero and channels that are removed give the same output") {
  for (const NetworkCase& c : network_cases) {
    const Network net = c.make();
    const Rows dense = net.forward(net);
    std::vector<Index> channels;
    for (const ChannelGroup& group : net.graph.groups()) {
      if (static_cast<Index>(group.fixed.size()) == group.channels()) continue;
      channels.push_back(group.channels());
      for (const std::uint64_t seed : {1u, 2u, 3u}) {
        CAPTURE(c.name, to_string(group.root()), seed);
        const std::vector<Index> removed = some_channels(group, seed);
        CHECK(static_cast<Index>(removed.size()) >= group.channels() / 2);
        Network cut = net;
        cut.graph.remove(group, removed);
        const Rows output = net.forward(smaller(cut));
        CHECK(output != dense);
        if (c.maps_zero_to_zero)
          CHECK(output == net.forward(zeroed(net, group, removed, Zeroed::producers)));
        // Queries and keys have no layer that reads them.
        if (std::any_of(group.members.begin(), group.members.end(),
                        [](const auto& member) { return member.axis.axis == "in"; }))
          CHECK(output == net.forward(zeroed(net, group, removed, Zeroed::consumers)));
      }
    }
    CAPTURE(c.name);
    std::sort(channels.begin(), channels.end());
    std::vector<Index> expected = c.channels;
    std::sort(expected.begin(), expected.end());
    CHECK(channels == expected);
  }
}

TEST_CASE("all groups of a network are removed one after another") {
  for (const NetworkCase& c : network_cases) {
    CAPTURE(c.name);
    const Network net = c.make();
    Network cut = net, zeros = net;
    for (const ChannelGroup& group : net.graph.groups()) {
      if (static_cast<Index>(group.fixed.size()) == group.channels()) continue;
      const std::vector<Index> removed = some_channels(group, 4);
      cut.graph.remove(group, removed);
      zeros = zeroed(zeros, group, removed,
                     c.maps_zero_to_zero ? Zeroed::producers : Zeroed::consumers);
    }
    CHECK(net.forward(smaller(cut)) == net.forward(zeros));

    DependencyGraph replayed = net.graph;
    replayed.replay(cut.graph.edits());
    for (const auto& [name, values] : net.tensors)
      CHECK(replayed.shape(name) == cut.graph.shape(name));
    CHECK(replayed.edits() == cut.graph.edits());
  }
}

TEST_CASE("what computes across channels or adds to them is not the same when they are removed") {
  {
    const Network net = with_layer_norm();
    const ChannelGroup group = net.graph.group_of({"norm"});
    Network cut = net;
    cut.graph.remove(group, std::vector<Index>{1, 4});
    CHECK(net.forward(smaller(cut)) != net.forward(zeroed(net, group, {1, 4}, Zeroed::producers)));
  }
  {
    // A batch norm whose beta stays.
    const Network net = flattened<false>();
    const ChannelGroup group = net.graph.group_of({"first", "out"});
    Network cut = net, zeros = zeroed(net, group, {0, 1, 2}, Zeroed::producers);
    cut.graph.remove(group, std::vector<Index>{0, 1, 2});
    CHECK(net.forward(smaller(cut)) == net.forward(zeros));
    zeros.tensors.at("norm.beta").v.assign(6, 0.5);
    Network other = net;
    other.tensors.at("norm.beta").v.assign(6, 0.5);
    other.graph = cut.graph;
    CHECK(net.forward(smaller(other)) != net.forward(zeros));
  }
}

}  // namespace networks
