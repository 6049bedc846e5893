// The library twice in one translation unit, and both units in it.
#define PARE_ODR_UNIT first_unit
#include "exercise.cpp"
#undef PARE_ODR_UNIT
#define PARE_ODR_UNIT second_unit
#include "exercise.cpp"
