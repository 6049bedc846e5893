/// OpenBLAS in float32: sgemv for one token, sgemm for more.

#include <cblas.h>

#include "float_product.hpp"

// The wheel prefixes every symbol.
#if defined(PEER_SCIPY_OPENBLAS)
#define PEER_BLAS(name) scipy_##name
#else
#define PEER_BLAS(name) name
#endif

namespace {

class OpenBlasProduct : public peer::FloatProduct {
 public:
  explicit OpenBlasProduct(const peer::Request& request) : FloatProduct(request) {
    PEER_BLAS(openblas_set_num_threads)(request.threads);
  }

  void run(int copy) override {
    const auto tokens = static_cast<blasint>(request().tokens);
    const auto out = static_cast<blasint>(request().out), in = static_cast<blasint>(request().in);
    if (tokens == 1) PEER_BLAS(cblas_sgemv)
    (CblasRowMajor, CblasNoTrans, out, in, 1.0f, weights(copy), in, x(), 1, 0.0f, y(), 1);
    else PEER_BLAS(cblas_sgemm)(CblasRowMajor, CblasNoTrans, CblasTrans, tokens, out, in, 1.0f, x(),
                                in, weights(copy), in, 0.0f, y(), out);
  }
};

/// "0.3.34 SkylakeX" from a configuration such as "OpenBLAS 0.3.34 NO_AFFINITY SkylakeX ...".
std::string version() {
  std::istringstream words(PEER_BLAS(openblas_get_config)());
  std::string name, number;
  words >> name >> number;
  return number + ' ' + PEER_BLAS(openblas_get_corename)();
}

}  // namespace

int main() {
  return peer::serve("openblas", version(), [](const peer::Request& request) {
    return std::make_unique<OpenBlasProduct>(request);
  });
}
