/// oneDNN: the matmul primitive with weights reordered once to the layout it prefers.
///
///     w8a8      u8 source, s8 weights, scale per output channel, bias, f32 destination
///     float32   f32 throughout
///     bf16      bf16 source and weights, f32 destination

#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "worker.hpp"

namespace {

using dnnl::memory;
using Type = memory::data_type;
using Layout = memory::format_tag;

struct Types {
  Type source, weights;
  bool scaled;  ///< with a scale per output channel and a bias
};

Types types_of(const peer::Request& request) {
  if (request.op == "w8a8") {
    if (request.group != -1) throw peer::Unsupported("w8a8 has one scale per row: group=-1");
    return {Type::u8, Type::s8, true};
  }
  if (request.op == "float32") return {Type::f32, Type::f32, false};
  if (request.op == "bf16") return {Type::bf16, Type::bf16, false};
  throw peer::Unsupported("op " + request.op);
}

template <class T>
std::span<T> values(const memory& m) {
  return {static_cast<T*>(m.get_data_handle()), m.get_desc().get_size() / sizeof(T)};
}

class Matmul : public peer::Product {
 public:
  explicit Matmul(const peer::Request& request) : request_(request), types_(types_of(request)) {
    omp_set_num_threads(request.threads);  // counts when the primitive is made, too
    prepare();
  }

  std::size_t bytes_per_copy() const override { return weights_.front().get_desc().get_size(); }

  void run(int copy) override {
    matmul_.execute(stream_, arguments_[static_cast<std::size_t>(copy)]);
    stream_.wait();
  }

 private:
  void prepare() {
    const memory::desc source({request_.tokens, request_.in}, types_.source, Layout::ab);
    const memory::desc any({request_.in, request_.out}, types_.weights, Layout::any);
    const memory::desc bias({1, request_.out}, Type::f32, Layout::ab);
    const memory::desc result({request_.tokens, request_.out}, Type::f32, Layout::ab);
    const auto chosen = primitive(source, any, bias, result);
    matmul_ = dnnl::matmul(chosen);

    std::unordered_map<int, memory> shared{{DNNL_ARG_SRC, random(source, types_.source, 1)},
                                           {DNNL_ARG_DST, memory(result, engine_)}};
    if (types_.scaled) {
      shared.insert({DNNL_ARG_BIAS, random(bias, Type::f32, 2)});
#if DNNL_VERSION_MAJOR >= 3
      const memory::desc scales({request_.out}, Type::f32, Layout::a);
      shared.insert({DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, random(scales, Type::f32, 3)});
#endif
    }
    const memory::desc plain({request_.in, request_.out}, types_.weights, Layout::ab);
    const memory original = random(plain, types_.weights, 4);
    for (int i = 0; i < request_.copies; ++i) {
      weights_.emplace_back(chosen.weights_desc(), engine_);
      memory from = original;
      dnnl::reorder(from, weights_.back()).execute(stream_, from, weights_.back());
      arguments_.push_back(shared);
      arguments_.back().insert({DNNL_ARG_WEIGHTS, weights_.back()});
    }
    stream_.wait();
  }

  dnnl::matmul::primitive_desc primitive(const memory::desc& source, const memory::desc& weights,
                                         const memory::desc& bias,
                                         const memory::desc& result) const {
    dnnl::primitive_attr attributes;
    constexpr int per_column = 1 << 1;
#if DNNL_VERSION_MAJOR >= 3
    if (!types_.scaled) return {engine_, source, weights, result, attributes};
    attributes.set_scales_mask(DNNL_ARG_WEIGHTS, per_column);
    return {engine_, source, weights, bias, result, attributes};
#else
    if (!types_.scaled) return {{source, weights, result}, attributes, engine_};
    attributes.set_output_scales(per_column,
                                 std::vector<float>(static_cast<std::size_t>(request_.out), 0.01f));
    return {{source, weights, bias, result}, attributes, engine_};
#endif
  }

  memory random(const memory::desc& shape, Type type, unsigned seed) const {
    memory m(shape, engine_);
    switch (type) {
      case Type::u8:
        peer::fill_integers(values<unsigned char>(m), seed, 0, 255);
        break;
      case Type::s8:
        peer::fill_integers(values<signed char>(m), seed, -127, 127);
        break;
      case Type::f32:
        peer::fill_normal(values<float>(m), seed);
        break;
      case Type::bf16: {
        // 0x3c00 to 0xbeff with the sign: magnitudes from 2^-7 to 2^-1
        for (auto& v : values<unsigned short>(m))
          v = static_cast<unsigned short>((seed = seed * 1'664'525u + 1'013'904'223u) >> 16 &
                                          0x83ffu) |
              0x3c00u;
        break;
      }
      default:
        throw std::logic_error("no values for this data type");
    }
    return m;
  }

  peer::Request request_;
  Types types_;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  dnnl::matmul matmul_;
  std::vector<memory> weights_;
  std::vector<std::unordered_map<int, memory>> arguments_;
};

}  // namespace

int main() {
  const dnnl_version_t* v = dnnl_version();
  const std::string version =
      std::to_string(v->major) + '.' + std::to_string(v->minor) + '.' + std::to_string(v->patch);
  return peer::serve("onednn", version, [](const peer::Request& request) {
    return std::make_unique<Matmul>(request);
  });
}
