#include "models/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace kvlab {

namespace {

// Llama 3.1: long wavelengths are stretched by `factor`, short ones stay, those between are blended.
double llama3_scaled(double frequency, const RotarySettings& settings) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double context = static_cast<double>(settings.original_context);
  if (wavelength < context / settings.high_freq_factor) return frequency;
  if (wavelength > context / settings.low_freq_factor) return frequency / settings.factor;
  const double blend = (context / wavelength - settings.low_freq_factor) /
                       (settings.high_freq_factor - settings.low_freq_factor);
  return (1 - blend) * frequency / settings.factor + blend * frequency;
}

// YaRN: a ramp over the pairs, from frequencies that stay to frequencies divided by `factor`.
struct YarnRamp {
  explicit YarnRamp(const RotarySettings& s) {
    low = pair_that_turns(s.beta_fast, s);
    high = pair_that_turns(s.beta_slow, s);
    if (s.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, s.dims - 1.0);
    if (low == high) high += 0.001;
  }
  double at(int pair) const { return std::clamp((pair - low) / (high - low), 0.0, 1.0); }

  // The pair, as a fraction, that turns so many times within the original context.
  static double pair_that_turns(double turns, const RotarySettings& s) {
    const double context = static_cast<double>(s.original_context);
    return s.dims * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(s.theta));
  }
  double low, high;
};

}  // namespace

RotaryFrequencies rotary_frequencies(const RotarySettings& settings) {
  using Kind = RotarySettings::Kind;
  if (settings.kind == Kind::kDynamic) {
    return RotaryFrequencies::dynamic(settings.theta, settings.dims, settings.factor,
                                      settings.original_context);
  }
  std::vector<double> frequencies(settings.dims / 2);
  for (int i = 0; i < settings.dims / 2; ++i) {
    double frequency = std::pow(settings.theta, -2.0 * i / settings.dims);
    if (!settings.divisors.empty()) {
      frequency /= settings.divisors[i];
    } else if (settings.kind == Kind::kLlama3) {
      frequency = llama3_scaled(frequency, settings);
    } else if (settings.kind == Kind::kLinear) {
      frequency /= settings.factor;
    } else if (settings.kind == Kind::kYarn) {
      const double ramp = YarnRamp(settings).at(i);
      frequency = frequency / settings.factor * ramp + frequency * (1 - ramp);
    }
    frequencies[i] = frequency;
  }
  return frequencies;
}

}  // namespace kvlab
