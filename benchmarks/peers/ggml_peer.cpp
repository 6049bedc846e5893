/// ggml's CPU backend, the kernels of llama.cpp: `ggml_peer q4_0`, q4_k, q8_0 or tq2_0.
///
/// Weights lie in the buffer type that llama.cpp would choose, so formats that it repacks for this
/// CPU are repacked. Activations are float32 and quantized inside the product, as ggml does.

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include "worker.hpp"

namespace {

struct Kind {
  const char* name;
  ggml_type type;
  const char* op;
  std::ptrdiff_t group;  ///< 0: compared with any grouping of ours
};

constexpr Kind kinds[] = {{"q4_0", GGML_TYPE_Q4_0, "w4a8", 32},
                          {"q4_k", GGML_TYPE_Q4_K, "w4a8", 32},
                          {"q8_0", GGML_TYPE_Q8_0, "w8a8_dynamic", 0},
                          {"tq2_0", GGML_TYPE_TQ2_0, "ternary", 0}};

template <auto release>
struct Release {
  template <class T>
  void operator()(T* p) const {
    release(p);
  }
};
using Context = std::unique_ptr<ggml_context, Release<ggml_free>>;
using Backend = std::unique_ptr<ggml_backend, Release<ggml_backend_free>>;
using Buffer = std::unique_ptr<ggml_backend_buffer, Release<ggml_backend_buffer_free>>;
using Pool = std::unique_ptr<ggml_threadpool, Release<ggml_threadpool_free>>;

/// Room for a product and what it reads in the graph's hash table.
constexpr std::size_t graph_size = 8;

Context tensors_without_data(int count) {
  const std::size_t bytes =
      ggml_tensor_overhead() * static_cast<std::size_t>(count) +
      ggml_graph_overhead_custom(graph_size, false) * static_cast<std::size_t>(count);
  return Context(ggml_init({bytes, nullptr, true}));
}

class MatMul : public peer::Product {
 public:
  MatMul(const Kind& kind, const peer::Request& request)
      : kind_(kind),
        request_(request),
        backend_(ggml_backend_cpu_init()),
        context_(tensors_without_data(2 * request.copies + 8)) {
    if (request.op != kind.op) throw peer::Unsupported("op " + request.op);
    if (kind.group != 0 && request.group != kind.group)
      throw peer::Unsupported(std::string(kind.name) + " has groups of 32");
    if (request.in % ggml_blck_size(kind.type) != 0)
      throw peer::Unsupported("in must be a multiple of " +
                              std::to_string(ggml_blck_size(kind.type)));
    make_weights();
    make_graphs();
    start_threads();
  }

  std::size_t bytes_per_copy() const override { return ggml_nbytes(weights_.front()); }

  void run(int copy) override {
    const auto i = static_cast<std::size_t>(copy);
    if (ggml_graph_compute(graphs_[i], &plans_[i]) != GGML_STATUS_SUCCESS)
      throw std::runtime_error("ggml_graph_compute failed");
  }

  void wake() override { ggml_threadpool_resume(pool_.get()); }
  void rest() override { ggml_threadpool_pause(pool_.get()); }

 private:
  void make_weights() {
    Context context = tensors_without_data(request_.copies);
    for (int i = 0; i < request_.copies; ++i)
      weights_.push_back(ggml_new_tensor_2d(context.get(), kind_.type, request_.in, request_.out));
    weight_buffer_.reset(ggml_backend_alloc_ctx_tensors_from_buft(context.get(), buffer_type()));
    if (!weight_buffer_) throw std::bad_alloc();
    weight_context_ = std::move(context);

    const std::size_t row_bytes = ggml_row_size(kind_.type, request_.in);
    const std::ptrdiff_t fresh = std::min<std::ptrdiff_t>(request_.out, 61);
    std::vector<float> values(static_cast<std::size_t>(fresh * request_.in));
    peer::fill_normal(values, 1, 0.02f);
    std::vector<char> codes(row_bytes * static_cast<std::size_t>(request_.out));
    ggml_quantize_chunk(kind_.type, values.data(), codes.data(), 0, fresh, request_.in, nullptr);
    const std::size_t fresh_bytes = row_bytes * static_cast<std::size_t>(fresh);
    for (std::size_t i = fresh_bytes; i < codes.size(); ++i) codes[i] = codes[i - fresh_bytes];
    for (ggml_tensor* w : weights_) ggml_backend_tensor_set(w, codes.data(), 0, codes.size());
  }

  /// The first extra buffer type of the CPU whose matmul takes such weights, as in llama.cpp.
  ggml_backend_buffer_type_t buffer_type() const {
    ggml_backend_dev_t device = ggml_backend_get_device(backend_.get());
    const auto extra =
        reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(ggml_backend_reg_get_proc_address(
            ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts"));
    for (auto* type = extra ? extra(device) : nullptr; type && *type; ++type) {
      const Context context = tensors_without_data(3);
      ggml_tensor* w = ggml_new_tensor_2d(context.get(), kind_.type, request_.in, request_.out);
      ggml_tensor* x =
          ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, request_.in, request_.tokens);
      const Buffer empty(ggml_backend_buft_alloc_buffer(*type, 0));
      w->buffer = empty.get();
      if (ggml_backend_dev_supports_op(device, ggml_mul_mat(context.get(), w, x))) return *type;
    }
    return ggml_backend_get_default_buffer_type(backend_.get());
  }

  /// A graph of one product per copy; all read the same x and write the same y.
  void make_graphs() {
    ggml_tensor* x =
        ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, request_.in, request_.tokens);
    ggml_tensor* y =
        ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, request_.out, request_.tokens);
    buffer_.reset(ggml_backend_alloc_ctx_tensors(context_.get(), backend_.get()));
    if (!buffer_) throw std::bad_alloc();
    std::vector<float> values(static_cast<std::size_t>(request_.in * request_.tokens));
    peer::fill_normal(values, 2);
    ggml_backend_tensor_set(x, values.data(), 0, values.size() * sizeof(float));

    for (ggml_tensor* w : weights_) {
      ggml_tensor* product = ggml_mul_mat(context_.get(), w, x);
      ggml_backend_tensor_alloc(buffer_.get(), product, y->data);
      ggml_cgraph* graph = ggml_new_graph_custom(context_.get(), graph_size, false);
      ggml_build_forward_expand(graph, product);
      graphs_.push_back(graph);
    }
  }

  /// The pool of llama.cpp's programs; it polls between products and is paused between runs.
  void start_threads() {
    ggml_threadpool_params parameters = ggml_threadpool_params_default(request_.threads);
    parameters.paused = true;
    pool_.reset(ggml_threadpool_new(&parameters));
    for (ggml_cgraph* graph : graphs_)
      plans_.push_back(ggml_graph_plan(graph, request_.threads, pool_.get()));
    for (const ggml_cplan& plan : plans_) work_.resize(std::max(work_.size(), plan.work_size));
    for (ggml_cplan& plan : plans_) plan.work_data = work_.data();
  }

  Kind kind_;
  peer::Request request_;
  Backend backend_;
  Context context_, weight_context_;
  Buffer buffer_, weight_buffer_;
  std::vector<ggml_tensor*> weights_;
  std::vector<ggml_cgraph*> graphs_;
  std::vector<ggml_cplan> plans_;
  std::vector<std::uint8_t> work_;
  Pool pool_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::string wanted = argc == 2 ? argv[1] : "";
  const std::string build = ggml_cpu_has_avx2() && !ggml_cpu_has_avx512() ? "avx2-" : "";
  ggml_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  for (const Kind& kind : kinds) {
    if (wanted != kind.name) continue;
    return peer::serve(
        "llama.cpp-" + build + wanted, ggml_version(),
        [&](const peer::Request& request) { return std::make_unique<MatMul>(kind, request); });
  }
  std::cerr << "usage: ggml_peer q4_0|q4_k|q8_0|tq2_0\n";
  return 2;
}
