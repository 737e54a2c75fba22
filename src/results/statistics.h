// The statistics of a paired comparison: how far its figures could be off, and what may be concluded.
//
// The unit of chance is the document: tokens of one document are correlated, and an interval that took them
// as independent would be about half as wide as the truth.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace kvlab {

// Regularised incomplete beta function I_x(a, b) for a, b > 0 and x in [0, 1], by its continued fraction
// (NIST DLMF 8.17.22) with the modified Lentz method.
double incomplete_beta(double a, double b, double x);

// P(|T| >= |t|) for Student's t with df degrees of freedom: I_{df/(df+t²)}(df/2, 1/2) (DLMF 8.17; Abramowitz
// and Stegun 26.7.1).
double t_two_sided_p(double t, double df);

// The t with P(T <= t) = p, 0 < p < 1.
double t_quantile(double p, double df);

// A sum of differences over some tokens: a document's, or a block's.
struct TokenSum {
  double tokens = 0;
  double sum = 0;
};

// The token-weighted mean R = Σ d_i / Σ n_i over documents i with n_i tokens and sum d_i, and its standard
// error with documents as clusters, by linearisation of the ratio (Cochran, Sampling Techniques, 3rd ed.,
// section 2.11, without the finite-population factor; m is the number of documents):
//   SE² = m / (m − 1) · Σ (d_i − R n_i)² / (Σ n_i)²
struct RatioEstimate {
  double value = 0;
  double standard_error = 0;
};
RatioEstimate ratio_estimate(std::span<const TokenSum> documents);  // two or more, with tokens

struct Interval {
  double low = 0, high = 0;
};

// A 95 % interval, and the two-sided p-value of the mean being zero.
struct Inference {
  Interval ci95;
  double p = 1;
};

// R ± t_{0.975, m−1} · SE, and the p-value of R / SE under t with m − 1 degrees of freedom.
Inference t_inference(std::span<const TokenSum> documents);

// Percentile interval (2.5 % and 97.5 %) of `resamples` resampled token-weighted means: every document keeps
// its place and has its blocks drawn with replacement from its own (a stratified block bootstrap; Efron and
// Tibshirani 1993, chapters 8 and 13), so the interval speaks of these documents only. The p-value is 2 ·
// min(share of means <= 0, share >= 0), each count and B one higher (Davison and Hinkley 1997, section 4.2),
// at most 1. The same seed gives the same result, on every machine. Blocks may be empty (of chosen tokens,
// say), though not all; a resample without a token has no mean and is drawn again.
constexpr int kBootstrapResamples = 2000;
constexpr uint64_t kBootstrapSeed = 20240607;
Inference bootstrap_inference(std::span<const std::vector<TokenSum>> documents,
                              int resamples = kBootstrapResamples, uint64_t seed = kBootstrapSeed);

// The value at place f · (n − 1) of n ascending values, linear in between. n > 0.
double quantile_of_sorted(std::span<const double> ascending, double f);
double quantile_of_sorted(std::span<const float> ascending, double f);

// Holm's step-down adjustment (Scand. J. Statist. 6, 1979) over the p-values that are there: with k of them,
// the i-th smallest (from 0) becomes max over j <= i of min(1, (k − j) · p_j).
std::vector<std::optional<double>> holm(const std::vector<std::optional<double>>& p);

// Is perplexity at most `margin` (0.01: 1 %) worse? From the two-sided 95 % interval of ΔNLL, as exp(ΔNLL) −
// 1: PASS when its upper end is below the margin, FAIL when its lower end is above, else INCONCLUSIVE. So a
// false PASS has a chance of 2.5 %.
const char* margin_verdict(const Interval& delta_nll, double margin);

}  // namespace kvlab
