// error: no match for call|no matching function for call to object
#include "pare/pruning/scores/all.hpp"

pare::Matrix<float> use(pare::MatrixView<const float> w, pare::VectorView<const float> norms) {
#ifdef PARE_MUST_FAIL
  (void)norms;
  return pare::Wanda{}(pare::Weights{w});  // its Inputs are WeightsAndInputs
#else
  return pare::Wanda{}(pare::WeightsAndInputs{w, norms});
#endif
}
