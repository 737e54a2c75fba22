#include "evals/document_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>

#include "base/error.h"
#include "engine/hindsight.h"

namespace kvlab {

namespace {

int64_t first_scored_query(const Protocol& protocol, int64_t tokens) {
  if (protocol.kind == Protocol::Kind::kStream) return 0;
  if (protocol.context < 1 || protocol.context >= tokens) {
    throw UserError("--context " + std::to_string(protocol.context) +
                    " leaves nothing to score of a document of " + std::to_string(tokens) + " tokens");
  }
  return protocol.context - 1;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Of all threads: beside the wall time it shows whether something else had the cores.
double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Extends the session by all tokens as the protocol says; returns the hidden states of all of them.
HiddenStates extend_all(Session& session, const TokenDocument& document, const RunOptions& options,
                        double& prefill_seconds) {
  const auto start = std::chrono::steady_clock::now();
  const std::span<const int32_t> tokens(document.tokens);
  HiddenStates all;
  all.rows = static_cast<int64_t>(tokens.size());
  all.size = session.model().config().hidden;
  all.values = Buffer<float>(static_cast<size_t>(all.rows) * all.size);
  const bool prefix = options.protocol.kind == Protocol::Kind::kPrefix;
  int64_t at = 0;
  const auto extend_to = [&](int64_t end) {
    while (at < end) {
      const int64_t count = options.extend_size > 0 ? std::min(options.extend_size, end - at) : end - at;
      const HiddenStates part = session.extend(tokens.subspan(at, count));
      std::memcpy(all.values.data() + at * all.size, part.values.data(), part.values.bytes());
      at += count;
    }
  };
  if (prefix) {
    extend_to(options.protocol.context);
    session.end_context();
    prefill_seconds = seconds_since(start);
  }
  extend_to(all.rows);
  if (!prefix) prefill_seconds = seconds_since(start);
  return all;
}

void keep_rows(HiddenStates& states, const std::vector<int32_t>& rows) {
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memmove(states.values.data() + i * states.size, states.row(rows[i]), states.size * sizeof(float));
  }
  states.rows = static_cast<int64_t>(rows.size());
}

// Adds a KV head's entries whose position lies in [first, end), of all there would be.
void count_head(const std::vector<int32_t>& positions, int64_t first, int64_t end, EntryCount& count) {
  count.kept += std::lower_bound(positions.begin(), positions.end(), end) -
                std::lower_bound(positions.begin(), positions.end(), first);
  count.all += std::max<int64_t>(0, end - first);
}

EntryCount count_between(const DocumentRun& run, int64_t first, int64_t end) {
  EntryCount count;
  for (const auto& layer : run.live) {
    for (const auto& positions : layer) count_head(positions, first, end, count);
  }
  return count;
}

// Entries outside each head's own window; without a budget, outside the common one.
EntryCount count_outside_own(const DocumentRun& run, const Policy& policy, int64_t n, int64_t common_window) {
  EntryCount count;
  for (size_t layer = 0; layer < run.live.size(); ++layer) {
    for (size_t head = 0; head < run.live[layer].size(); ++head) {
      const Policy own = policy.of_head(static_cast<int>(layer), static_cast<int>(head));
      const int64_t window = policy.budget ? own.window_at(n) : common_window;
      count_head(run.live[layer][head], 0, std::max<int64_t>(0, n - window), count);
    }
  }
  return count;
}

void count_entries(const Session& session, const RunOptions& options, DocumentRun& run) {
  const KvCache& cache = session.cache();
  const MethodSpec& spec = cache.method().spec;
  run.live = session.live_positions();
  const int64_t n = cache.tokens();
  const int64_t outside = std::max<int64_t>(0, n - options.common_window);
  DocumentResult& result = run.result;
  result.overall = count_between(run, 0, n);
  result.outside_window = count_between(run, 0, outside);
  result.compressible = count_between(run, std::min(spec.lasting_sinks(), outside), outside);
  result.outside_effective_window = count_outside_own(run, spec.policy, n, options.common_window);
}

// What the scored queries saw: query i misses every entry evicted at or before i.
void count_seen(const KvCache& cache, DocumentRun& run) {
  const ModelShape& shape = cache.method().shape;
  const int64_t heads = int64_t{1} * shape.layers * shape.kv_heads;
  const auto entry_bytes =
      static_cast<double>(2 * shape.head_dim * static_cast<int64_t>(element_size(cache.options().type)));
  int64_t evicted = 0;
  int64_t next = 0;
  for (const int32_t query : run.queries) {
    for (; next <= query && next < static_cast<int64_t>(cache.evicted_at().size()); ++next) {
      evicted += cache.evicted_at()[next];
    }
    const int64_t dense = heads * (query + 1);
    run.result.seen_dense += static_cast<double>(dense);
    run.result.seen_visible += static_cast<double>(dense - evicted);
    run.result.kv_bytes_seen_sum += static_cast<double>(dense - evicted) * entry_bytes;
    run.touched.push_back(evicted > 0);
    run.result.tokens_touched += evicted > 0;
  }
}

void count_bytes(const Session& session, const RunOptions& options, DocumentResult& result) {
  const KvCache& cache = session.cache();
  const CacheBytes bytes = cache.bytes();
  result.kv_bytes = bytes.total();
  result.kv_bytes_peak = cache.peak_bytes();
  result.kv_bytes_baseline = dense_cache_bytes(cache.method().shape, cache.tokens(), options.kv_type);
  result.breakdown.payload = bytes.payload;
  result.breakdown.positions = bytes.positions;
  result.breakdown.scores = bytes.scores;
  result.breakdown.slack = bytes.slack;
  result.evictions = cache.evictions().evictions;
  result.forced_evictions = cache.evictions().forced;
}

// The sums that comparisons between runs are computed from.
void add_losses(const std::vector<float>& nll, DocumentResult& result) {
  for (size_t i = 0; i < nll.size(); ++i) {
    if (i % kBlockTokens == 0) {
      result.block_tokens.push_back(0);
      result.nll_blocks.push_back(0);
    }
    ++result.block_tokens.back();
    result.nll_blocks.back() += nll[i];
    result.nll_sum += nll[i];
  }
}

}  // namespace

DocumentRun run_document(const std::shared_ptr<const Model>& model,
                         const std::shared_ptr<const Method>& method, const TokenDocument& document,
                         const RunOptions& options) {
  DocumentRun run;
  const auto n = static_cast<int64_t>(document.tokens.size());
  for (int64_t q = first_scored_query(options.protocol, n); q + 1 < n; ++q) {
    if (document.scored[q + 1]) run.queries.push_back(static_cast<int32_t>(q));
  }
  CacheOptions cache_options;
  cache_options.type = options.kv_type;
  cache_options.document = static_cast<uint64_t>(document.index);
  cache_options.record_lifetimes = options.record_lifetimes;
  cache_options.tap = options.tap;
  const auto start = std::chrono::steady_clock::now();
  const double cpu_start = cpu_seconds();
  if (method->planned()) {
    const bool prefix = options.protocol.kind == Protocol::Kind::kPrefix;
    cache_options.imposed =
        plan_lifetimes_ahead(model, method, document.tokens,
                             prefix ? std::optional(options.protocol.context) : std::nullopt, cache_options);
  }
  Session session(model, method, cache_options);
  run.hidden = extend_all(session, document, options, run.prefill_seconds);
  keep_rows(run.hidden, run.queries);
  std::vector<int32_t> targets;
  for (const int32_t q : run.queries) targets.push_back(document.tokens[q + 1]);
  run.nll = token_losses(*model, run.hidden, targets);
  run.result.seconds = seconds_since(start);
  run.result.cpu_seconds = cpu_seconds() - cpu_start;

  run.result.index = document.index;
  run.result.id = document.id;
  run.result.tokens = n;
  run.result.tokens_scored = static_cast<int64_t>(run.queries.size());
  add_losses(run.nll, run.result);
  count_entries(session, options, run);
  count_seen(session.cache(), run);
  count_bytes(session, options, run.result);
  if (options.record_lifetimes) run.lifetimes = session.cache().lifetimes();
  return run;
}

void add_deltas(const Model& model, const DocumentRun& baseline, DocumentRun& run) {
  KVLAB_CHECK(baseline.queries == run.queries);
  const Fidelity fidelity = compare_states(model, baseline.hidden, run.hidden, run.hidden.rows);
  run.result.delta_blocks.assign(run.result.block_tokens.size(), 0);
  run.result.kl_blocks.assign(run.result.block_tokens.size(), 0);
  for (size_t i = 0; i < run.nll.size(); ++i) {
    const double delta = static_cast<double>(run.nll[i]) - baseline.nll[i];
    run.result.delta_nll_sum += delta;
    if (run.touched[i]) run.result.delta_nll_touched_sum += delta;
    run.result.kl_sum += fidelity.kl[i];
    run.result.delta_blocks[i / kBlockTokens] += delta;
    run.result.kl_blocks[i / kBlockTokens] += fidelity.kl[i];
    const double delta_p =
        std::exp(-static_cast<double>(run.nll[i])) - std::exp(-static_cast<double>(baseline.nll[i]));
    run.result.delta_p_squared_sum += delta_p * delta_p;
    run.result.top1_agree += fidelity.same_top[i];
  }
  run.result.token_kl = fidelity.kl;
}

}  // namespace kvlab
