// error: no matching function
#include "pare/core/eigen.hpp"

float sum_of_first(const Eigen::MatrixXf& a, const Eigen::MatrixXf& b) {
#ifdef PARE_MUST_FAIL
  return pare::matrix_view(a + b)(0, 0);
#else
  const Eigen::MatrixXf sum = a + b;
  return pare::matrix_view(sum)(0, 0);
#endif
}
