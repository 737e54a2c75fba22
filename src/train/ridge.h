// Ridge regression in closed form: normal equations in double, with an intercept that is not penalised.
#pragma once

#include <cstdint>
#include <memory>

#include "train/surrogate.h"

namespace kvlab {

// Takes samples block by block and holds input^2 doubles, however many there are.
class Ridge {
 public:
  Ridge(int input, int output);
  ~Ridge();
  // x: [rows][input], y: [rows][output].
  void add(const float* x, const float* y, int rows);
  // The w and b that make sum ||y - w x - b||^2 + alpha ||w||^2 least. Throws UserError when the equations
  // are singular (alpha 0 and inputs that depend on each other).
  Surrogate solve(double alpha) const;

 private:
  struct Sums;
  std::unique_ptr<Sums> sums_;
};

}  // namespace kvlab
