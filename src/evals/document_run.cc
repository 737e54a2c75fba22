#include "evals/document_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <limits>

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

// A document on its way through its session.
struct Course {
  Session session;
  std::span<const int32_t> tokens;
  HiddenStates hidden;  // of all tokens
  int64_t done = 0;     // tokens
};

Course make_course(const std::shared_ptr<const Model>& model, const std::shared_ptr<const Method>& method,
                   const TokenDocument& document, CacheOptions options, const Protocol& protocol) {
  if (method->planned()) {
    const bool prefix = protocol.kind == Protocol::Kind::kPrefix;
    options.imposed = plan_lifetimes_ahead(model, method, document.tokens,
                                           prefix ? std::optional(protocol.context) : std::nullopt, options);
  }
  Course course{Session(model, method, std::move(options)), document.tokens, {}, 0};
  course.hidden.rows = static_cast<int64_t>(document.tokens.size());
  course.hidden.size = model->config().hidden;
  course.hidden.values = Buffer<float>(static_cast<size_t>(course.hidden.rows) * course.hidden.size);
  return course;
}

// Extends every session once, by at most `extend_size` tokens (0: all) and not beyond token `end`. False when
// all have got there.
bool extend_once(std::span<Course> courses, int64_t end, int64_t extend_size) {
  std::vector<Course*> going;
  std::vector<Session*> sessions;
  std::vector<std::span<const int32_t>> tokens;
  for (Course& course : courses) {
    const int64_t left = std::min(end, course.hidden.rows) - course.done;
    if (left <= 0) continue;
    going.push_back(&course);
    sessions.push_back(&course.session);
    tokens.push_back(
        course.tokens.subspan(course.done, extend_size > 0 ? std::min(extend_size, left) : left));
  }
  if (going.empty()) return false;
  const std::vector<HiddenStates> parts = Session::extend_together(sessions, tokens);
  for (size_t i = 0; i < going.size(); ++i) {
    Course& course = *going[i];
    std::memcpy(course.hidden.values.data() + course.done * course.hidden.size, parts[i].values.data(),
                parts[i].values.bytes());
    course.done += parts[i].rows;
  }
  return true;
}

// Takes all documents through their sessions as the protocol says. Returns the seconds of the prefill.
double run_courses(std::span<Course> courses, const RunOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const bool prefix = options.protocol.kind == Protocol::Kind::kPrefix;
  double prefill_seconds = 0;
  if (prefix) {
    while (extend_once(courses, options.protocol.context, options.extend_size)) {
    }
    for (Course& course : courses) course.session.end_context();
    prefill_seconds = seconds_since(start);
  }
  while (extend_once(courses, std::numeric_limits<int64_t>::max(), options.extend_size)) {
  }
  return prefix ? prefill_seconds : seconds_since(start);
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

// The first token whose entry a layer holds after n tokens without compression.
int64_t first_held(const ModelShape& shape, size_t layer, int64_t n) {
  const int64_t window = shape.window(static_cast<int>(layer));
  return window > 0 ? std::max<int64_t>(0, n - window + 1) : 0;
}

EntryCount count_between(const DocumentRun& run, const ModelShape& shape, int64_t n, int64_t first,
                         int64_t end) {
  EntryCount count;
  for (size_t layer = 0; layer < run.live.size(); ++layer) {
    const int64_t from = std::max(first, first_held(shape, layer, n));
    for (const auto& positions : run.live[layer]) count_head(positions, from, end, count);
  }
  return count;
}

// Entries outside each head's own window; without a budget, outside the common one.
EntryCount count_outside_own(const DocumentRun& run, const KvCache& cache, int64_t n, int64_t common_window) {
  const Method& method = cache.method();
  EntryCount count;
  for (size_t layer = 0; layer < run.live.size(); ++layer) {
    for (size_t head = 0; head < run.live[layer].size(); ++head) {
      const Policy own =
          method.policy_of(static_cast<int>(layer), static_cast<int>(head), cache.options().type);
      const int64_t window = own.budget ? own.window_at(n) : common_window;
      count_head(run.live[layer][head], first_held(method.shape, layer, n), std::max<int64_t>(0, n - window),
                 count);
    }
  }
  return count;
}

void count_entries(const Session& session, const RunOptions& options, DocumentRun& run) {
  const KvCache& cache = session.cache();
  const MethodSpec& spec = cache.method().spec;
  const ModelShape& shape = cache.method().shape;
  run.live = session.live_positions();
  const int64_t n = cache.tokens();
  const int64_t outside = std::max<int64_t>(0, n - options.common_window);
  DocumentResult& result = run.result;
  result.overall = count_between(run, shape, n, 0, n);
  result.outside_window = count_between(run, shape, n, 0, outside);
  result.compressible = count_between(run, shape, n, std::min(spec.lasting_sinks(), outside), outside);
  result.outside_effective_window = count_outside_own(run, cache, n, options.common_window);
  for (size_t layer = 0; layer < run.live.size(); ++layer) {
    const auto held = static_cast<double>(shape.reach(static_cast<int>(layer), n));
    for (const auto& positions : run.live[layer])
      result.head_keep.push_back(static_cast<double>(positions.size()) / held);
  }
}

// Entries of all layers and heads that a query at the end of n tokens sees without compression.
int64_t dense_entries(const ModelShape& shape, int64_t n) {
  if (shape.windows.empty()) return int64_t{1} * shape.layers * shape.kv_heads * n;
  int64_t entries = 0;
  for (int layer = 0; layer < shape.layers; ++layer) entries += shape.kv_heads * shape.reach(layer, n);
  return entries;
}

// What the scored queries saw: query i misses every entry evicted at or before i.
void count_seen(const KvCache& cache, DocumentRun& run) {
  const ModelShape& shape = cache.method().shape;
  const auto entry_bytes =
      static_cast<double>(2 * shape.head_dim * static_cast<int64_t>(element_size(cache.options().type)));
  int64_t evicted = 0;
  int64_t next = 0;
  for (const int32_t query : run.queries) {
    for (; next <= query && next < static_cast<int64_t>(cache.evicted_at().size()); ++next) {
      evicted += cache.evicted_at()[next];
    }
    const int64_t dense = dense_entries(shape, query + 1);
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

std::vector<int32_t> scored_queries(const TokenDocument& document, const Protocol& protocol) {
  const auto n = static_cast<int64_t>(document.tokens.size());
  std::vector<int32_t> queries;
  for (int64_t q = first_scored_query(protocol, n); q + 1 < n; ++q) {
    if (document.scored[q + 1]) queries.push_back(static_cast<int32_t>(q));
  }
  return queries;
}

// Fills in every run's losses.
void score(const Model& model, std::span<const TokenDocument* const> documents, std::span<DocumentRun> runs) {
  std::vector<const HiddenStates*> states;
  std::vector<std::vector<int32_t>> targets(runs.size());
  for (size_t d = 0; d < runs.size(); ++d) {
    states.push_back(&runs[d].hidden);
    for (const int32_t q : runs[d].queries) targets[d].push_back(documents[d]->tokens[q + 1]);
  }
  const std::vector<std::span<const int32_t>> wanted(targets.begin(), targets.end());
  std::vector<std::vector<float>> nll = token_losses(model, states, wanted);
  for (size_t d = 0; d < runs.size(); ++d) runs[d].nll = std::move(nll[d]);
}

// What is counted when a document is through.
void count(const TokenDocument& document, const Session& session, const RunOptions& options,
           DocumentRun& run) {
  run.result.index = document.index;
  run.result.id = document.id;
  run.result.tokens = static_cast<int64_t>(document.tokens.size());
  run.result.tokens_scored = static_cast<int64_t>(run.queries.size());
  add_losses(run.nll, run.result);
  count_entries(session, options, run);
  count_seen(session.cache(), run);
  count_bytes(session, options, run.result);
  if (session.cache().options().record_lifetimes) run.lifetimes = session.cache().lifetimes();
}

}  // namespace

DocumentRun run_document(const std::shared_ptr<const Model>& model,
                         const std::shared_ptr<const Method>& method, const TokenDocument& document,
                         const RunOptions& options) {
  const TokenDocument* const one = &document;
  return std::move(run_documents(model, method, {&one, 1}, options)[0]);
}

std::vector<DocumentRun> run_documents(const std::shared_ptr<const Model>& model,
                                       const std::shared_ptr<const Method>& method,
                                       std::span<const TokenDocument* const> documents,
                                       const RunOptions& options) {
  KVLAB_CHECK(!documents.empty() && (!options.tap || documents.size() == 1));
  std::vector<DocumentRun> runs(documents.size());
  for (size_t d = 0; d < runs.size(); ++d) runs[d].queries = scored_queries(*documents[d], options.protocol);
  const auto start = std::chrono::steady_clock::now();
  const double cpu_start = cpu_seconds();
  std::vector<Course> courses;
  courses.reserve(documents.size());
  double tokens = 0;
  for (const TokenDocument* document : documents) {
    CacheOptions cache;
    cache.type = options.kv_type;
    cache.document = static_cast<uint64_t>(document->index);
    cache.record_lifetimes = options.record_lifetimes && courses.empty();
    cache.tap = options.tap;
    cache.prompts = options.prompts;
    courses.push_back(make_course(model, method, *document, std::move(cache), options.protocol));
    tokens += static_cast<double>(document->tokens.size());
  }
  const double prefill_seconds = run_courses(courses, options);
  for (size_t d = 0; d < runs.size(); ++d) {
    runs[d].hidden = std::move(courses[d].hidden);
    keep_rows(runs[d].hidden, runs[d].queries);
  }
  score(*model, documents, runs);
  const double seconds = seconds_since(start), cpu = cpu_seconds() - cpu_start;
  for (size_t d = 0; d < runs.size(); ++d) {
    const double share = static_cast<double>(documents[d]->tokens.size()) / tokens;
    runs[d].prefill_seconds = prefill_seconds * share;
    runs[d].result.seconds = seconds * share;
    runs[d].result.cpu_seconds = cpu * share;
    count(*documents[d], courses[d].session, options, runs[d]);
  }
  return runs;
}

namespace {

void add_deltas_of(const DocumentRun& baseline, Fidelity fidelity, DocumentRun& run) {
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
  run.result.token_kl = std::move(fidelity.kl);
}

}  // namespace

void add_deltas(const Model& model, std::span<const DocumentRun> baselines, std::span<DocumentRun> runs) {
  KVLAB_CHECK(baselines.size() == runs.size());
  std::vector<const HiddenStates*> base, own;
  for (size_t d = 0; d < runs.size(); ++d) {
    KVLAB_CHECK(baselines[d].queries == runs[d].queries);
    base.push_back(&baselines[d].hidden);
    own.push_back(&runs[d].hidden);
  }
  std::vector<Fidelity> fidelity = compare_states(model, base, own);
  for (size_t d = 0; d < runs.size(); ++d) add_deltas_of(baselines[d], std::move(fidelity[d]), runs[d]);
}

}  // namespace kvlab
