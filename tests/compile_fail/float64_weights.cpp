// error: could not convert|no viable conversion|cannot convert|no matching function
#include <vector>

#include "pare/formats/int.hpp"
#include "pare/quantization/quantize.hpp"

#ifdef PARE_MUST_FAIL
using Weights = std::vector<double>;
#else
using Weights = std::vector<float>;
#endif

pare::Index rows(const Weights& weights) {
  return pare::quantize<pare::Int<4>>({weights, {2, 3}}).rows();
}
