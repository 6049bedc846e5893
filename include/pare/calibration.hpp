#pragma once

#include "pare/calibration/activation_moments.hpp"
#include "pare/calibration/activation_statistics.hpp"
#include "pare/calibration/entropy_observer.hpp"
#include "pare/calibration/hessian.hpp"
#include "pare/calibration/histogram.hpp"
#include "pare/calibration/histogram_observer.hpp"
#include "pare/calibration/min_max_observer.hpp"
#include "pare/calibration/moving_average_observer.hpp"
#include "pare/calibration/mse_observer.hpp"
#include "pare/calibration/observer.hpp"
#include "pare/calibration/per_channel.hpp"
#include "pare/calibration/percentile_observer.hpp"
