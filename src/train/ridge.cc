#include "train/ridge.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include "base/error.h"
#include "kernels/moments.h"

namespace kvlab {

namespace {

template <typename T>
using Rows = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

}  // namespace

// Sums over the samples; of xx the lower triangle.
struct Ridge::Sums {
  int64_t rows = 0;
  Rows<double> xx, xy;
  Eigen::VectorXd x, y;
};

Ridge::Ridge(int input, int output) : sums_(std::make_unique<Sums>()) {
  sums_->xx = Rows<double>::Zero(input, input);
  sums_->xy = Rows<double>::Zero(input, output);
  sums_->x = Eigen::VectorXd::Zero(input);
  sums_->y = Eigen::VectorXd::Zero(output);
}

Ridge::~Ridge() = default;

void Ridge::add(const float* x, const float* y, int rows) {
  Sums& s = *sums_;
  const Rows<double> xs = Eigen::Map<const Rows<float>>(x, rows, s.x.size()).cast<double>();
  const Rows<double> ys = Eigen::Map<const Rows<float>>(y, rows, s.y.size()).cast<double>();
  add_moments(xs.data(), rows, static_cast<int>(s.x.size()), s.x.data(), s.xx.data());
  s.xy.noalias() += xs.transpose() * ys;
  s.y += ys.colwise().sum().transpose();
  s.rows += rows;
}

Surrogate Ridge::solve(double alpha) const {
  const Sums& s = *sums_;
  KVLAB_CHECK(s.rows > 0);
  const auto n = static_cast<double>(s.rows);
  // What the sums would be of centred inputs and outputs.
  Eigen::MatrixXd a = s.xx.triangularView<Eigen::Lower>();
  a.selfadjointView<Eigen::Lower>().rankUpdate(s.x, -1 / n);
  a.diagonal().array() += alpha;
  const Eigen::MatrixXd b = s.xy - s.x * s.y.transpose() / n;
  const Eigen::LLT<Eigen::MatrixXd, Eigen::Lower> factors(a);
  // Rounding can hide a singular matrix from the factorisation, not from its condition.
  constexpr double kLeastCondition = 1e-15;
  if (factors.info() != Eigen::Success || !(factors.rcond() > kLeastCondition))
    throw UserError("the ridge regression has no single solution: give a larger --alpha or more text");
  const Eigen::MatrixXd w = factors.solve(b);
  const Eigen::VectorXd bias = (s.y - w.transpose() * s.x) / n;
  Surrogate fit(static_cast<int>(s.x.size()), 0, static_cast<int>(s.y.size()));
  for (int o = 0; o < fit.output; ++o) {
    for (int i = 0; i < fit.input; ++i)
      fit.weight()[static_cast<int64_t>(o) * fit.input + i] = static_cast<float>(w(i, o));
    fit.bias()[o] = static_cast<float>(bias(o));
  }
  return fit;
}

}  // namespace kvlab
