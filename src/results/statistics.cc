#include "results/statistics.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace kvlab {

namespace {

// The continued fraction of DLMF 8.17.22; converges fast for x < (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  const auto away_from_zero = [](double value) { return std::fabs(value) < kTiny ? kTiny : value; };
  double c = 1;
  double d = 1 / away_from_zero(1 - (a + b) * x / (a + 1));
  double result = d;
  for (int m = 1; m <= 10000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double factor = 1;
    for (const double term : {even, odd}) {
      d = 1 / away_from_zero(1 + term * d);
      c = away_from_zero(1 + term / c);
      factor = c * d;
      result *= factor;
    }
    if (std::fabs(factor - 1) < 1e-15) break;
  }
  return result;
}

template <typename T>
double quantile_between(std::span<const T> ascending, double f) {
  KVLAB_CHECK(!ascending.empty() && f >= 0 && f <= 1);
  const double place = f * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, ascending.size() - 1);
  const double low = ascending[below], high = ascending[above];
  return low + (place - static_cast<double>(below)) * (high - low);
}

// The next of a stream of numbers in [0, count); its bias of count / 2^32 does not matter for blocks.
size_t draw(uint64_t seed, uint64_t& counter, size_t count) {
  return static_cast<size_t>((mix64(seed ^ mix64(counter++)) >> 32) * count >> 32);
}

// Every document with as many blocks as it has, drawn from its own.
TokenSum resampled(std::span<const std::vector<TokenSum>> documents, uint64_t seed, uint64_t& counter) {
  TokenSum total;
  for (const std::vector<TokenSum>& blocks : documents) {
    for (size_t i = 0; i < blocks.size(); ++i) {
      const TokenSum& block = blocks[draw(seed, counter, blocks.size())];
      total.tokens += block.tokens;
      total.sum += block.sum;
    }
  }
  return total;
}

bool any_tokens(std::span<const std::vector<TokenSum>> documents) {
  for (const std::vector<TokenSum>& blocks : documents) {
    for (const TokenSum& block : blocks) {
      if (block.tokens > 0) return true;
    }
  }
  return false;
}

}  // namespace

double incomplete_beta(double a, double b, double x) {
  KVLAB_CHECK(a > 0 && b > 0 && x >= 0 && x <= 1);
  if (x == 0 || x == 1) return x;
  const double log_front =
      std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x);
  const double front = std::exp(log_front);
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double t_two_sided_p(double t, double df) {
  if (std::isinf(t)) return 0;
  return incomplete_beta(df / 2, 0.5, df / (df + t * t));
}

double t_quantile(double p, double df) {
  KVLAB_CHECK(p > 0 && p < 1 && df > 0);
  if (p < 0.5) return -t_quantile(1 - p, df);
  const double tails = 2 * (1 - p);
  double low = 0, high = 1;
  while (t_two_sided_p(high, df) > tails) high *= 2;
  // Bisection: the tail falls steadily, and a hundred halvings reach the last digit.
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (t_two_sided_p(middle, df) > tails ? low : high) = middle;
  }
  return (low + high) / 2;
}

RatioEstimate ratio_estimate(std::span<const TokenSum> documents) {
  KVLAB_CHECK(documents.size() >= 2);
  double tokens = 0, sum = 0, squares = 0;
  for (const TokenSum& document : documents) {
    tokens += document.tokens;
    sum += document.sum;
  }
  KVLAB_CHECK(tokens > 0);
  RatioEstimate estimate;
  estimate.value = sum / tokens;
  for (const TokenSum& document : documents) {
    const double residual = document.sum - estimate.value * document.tokens;
    squares += residual * residual;
  }
  const double count = static_cast<double>(documents.size());
  estimate.standard_error = std::sqrt(count / (count - 1) * squares) / tokens;
  return estimate;
}

Inference t_inference(std::span<const TokenSum> documents) {
  const RatioEstimate estimate = ratio_estimate(documents);
  const double df = static_cast<double>(documents.size()) - 1;
  const double reach = t_quantile(0.975, df) * estimate.standard_error;
  Inference inference{{estimate.value - reach, estimate.value + reach}, 1};
  // 0 / 0 is a method that changed nothing.
  if (estimate.value != 0) inference.p = t_two_sided_p(estimate.value / estimate.standard_error, df);
  return inference;
}

Inference bootstrap_inference(std::span<const std::vector<TokenSum>> documents, int resamples,
                              uint64_t seed) {
  KVLAB_CHECK(resamples > 0 && any_tokens(documents));
  std::vector<double> means;
  uint64_t counter = 0;
  int not_above = 0, not_below = 0;
  for (int b = 0; b < resamples; ++b) {
    TokenSum total = resampled(documents, seed, counter);
    while (total.tokens == 0) total = resampled(documents, seed, counter);
    means.push_back(total.sum / total.tokens);
    not_above += means.back() <= 0;
    not_below += means.back() >= 0;
  }
  std::sort(means.begin(), means.end());
  const std::span<const double> ascending(means);
  Inference inference{{quantile_of_sorted(ascending, 0.025), quantile_of_sorted(ascending, 0.975)}, 1};
  inference.p = std::min(1.0, 2.0 * (std::min(not_above, not_below) + 1) / (resamples + 1));
  return inference;
}

double quantile_of_sorted(std::span<const double> ascending, double f) {
  return quantile_between(ascending, f);
}
double quantile_of_sorted(std::span<const float> ascending, double f) {
  return quantile_between(ascending, f);
}

std::vector<std::optional<double>> holm(const std::vector<std::optional<double>>& p) {
  std::vector<size_t> order;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i]) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return *p[a] < *p[b]; });
  std::vector<std::optional<double>> adjusted(p.size());
  double largest = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const double scaled = static_cast<double>(order.size() - i) * *p[order[i]];
    largest = std::max(largest, std::min(1.0, scaled));
    adjusted[order[i]] = largest;
  }
  return adjusted;
}

const char* margin_verdict(const Interval& delta_nll, double margin) {
  if (std::expm1(delta_nll.high) < margin) return "PASS";
  return std::expm1(delta_nll.low) > margin ? "FAIL" : "INCONCLUSIVE";
}

}  // namespace kvlab
