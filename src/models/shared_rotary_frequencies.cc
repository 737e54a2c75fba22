#include <cmath>
#include <numbers>

#include "models/rotary.h"

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

}  // namespace

std::vector<double> rotary_frequencies(const RotarySettings& settings) {
  std::vector<double> frequencies(settings.dims / 2);
  for (int i = 0; i < settings.dims / 2; ++i) {
    double frequency = std::pow(settings.theta, -2.0 * i / settings.dims);
    if (!settings.divisors.empty()) {
      frequency /= settings.divisors[i];
    } else if (settings.kind == RotarySettings::Kind::kLlama3) {
      frequency = llama3_scaled(frequency, settings);
    }
    frequencies[i] = frequency;
  }
  return frequencies;
}

}  // namespace kvlab
