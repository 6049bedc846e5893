// error: could not convert|no viable conversion|no matching function
#include "pare/core/tensor.hpp"

pare::Index size(pare::VectorView<const float> x) { return x.size(); }

pare::Index use() {
#ifdef PARE_MUST_FAIL
  const pare::Matrix<float> matrix({2, 3});  // a range of floats too, but no vector
  return size(matrix);
#else
  const pare::Vector<float> vector({6});
  return size(vector);
#endif
}
