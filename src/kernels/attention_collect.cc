// Finds the entries that some query of a block sees. The scan runs over all entries of the history for every
// block, so it must cost a few cycles per vector: compare, compress, store, advance.
#include "kernels/simd_targets.h"
//
#include <algorithm>
#include <limits>

#include "kernels/attention_block.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_collect.cc"
#include <hwy/foreach_target.h>  // before highway.h
//
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvlab {
namespace HWY_NAMESPACE {
namespace {  // other files have functions of the same names
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<int32_t, 16>;
using V = hn::Vec<D>;

// Stores whole vectors at the end of the arrays and advances by the lanes taken. (Compress in a register and
// a plain store: AVX-512's compress to memory is slow on Zen 4.)
HWY_INLINE void append(Candidates& out, V span, V row, V position, V evict, hn::Mask<D> taken) {
  const D d;
  hn::StoreU(span, d, out.span + out.count);
  hn::StoreU(hn::Compress(row, taken), d, out.row + out.count);
  hn::StoreU(hn::Compress(position, taken), d, out.position + out.count);
  hn::StoreU(hn::Compress(evict, taken), d, out.evict + out.count);
  out.count += static_cast<int>(hn::CountTrue(d, taken));
}

void collect_span(const EntrySpan& span, int32_t index, int32_t first_query, int32_t last_query,
                  Candidates& out) {
  const D d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const V id = hn::Set(d, index), never = hn::Set(d, kNever);
  const V first = hn::Set(d, first_query), last = hn::Set(d, last_query);
  int i = 0;
  for (; i + lanes <= span.count; i += lanes) {
    const V row = hn::Iota(d, i);
    const V position =
        span.position ? hn::LoadU(d, span.position + i) : hn::Add(row, hn::Set(d, span.first_position));
    const V evict = span.evict_at ? hn::LoadU(d, span.evict_at + i) : never;
    append(out, id, row, position, evict, hn::AndNot(hn::Gt(position, last), hn::Gt(evict, first)));
  }
  for (; i < span.count; ++i) {
    const int32_t position = span.position ? span.position[i] : span.first_position + i;
    const int32_t evict = span.evict_at ? span.evict_at[i] : kNever;
    out.span[out.count] = index;
    out.row[out.count] = i;
    out.position[out.count] = position;
    out.evict[out.count] = evict;
    out.count += position <= last_query && evict > first_query;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvlab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvlab {
HWY_EXPORT(collect_span);

namespace {

// Room for every entry to be a candidate, for padding, and for the last vector stored in whole.
Candidates make_room(std::span<const EntrySpan> entries, AttentionScratch& scratch) {
  constexpr size_t kStep = 4096;  // grows rarely while a history grows
  size_t total = 2 * kUnit;
  for (const EntrySpan& span : entries) total += span.count;
  if (scratch.index.size() < 4 * total)
    scratch.index.reserve_discard(4 * ((total + kStep - 1) / kStep * kStep));
  int32_t* data = scratch.index.data();
  const size_t part = scratch.index.size() / 4;
  return {data, data + part, data + 2 * part, data + 3 * part, 0};
}

}  // namespace

Candidates collect_candidates(const QueryBlock& block, std::span<const EntrySpan> entries,
                              AttentionScratch& scratch) {
  Candidates out = make_room(entries, scratch);
  const int32_t last_query = block.first_query + block.queries - 1;
  const auto collect = HWY_DYNAMIC_DISPATCH(collect_span);
  for (size_t i = 0; i < entries.size(); ++i) {
    EntrySpan span = entries[i];
    // Without explicit positions those after the last query form a tail.
    if (!span.position)
      span.count = static_cast<int32_t>(
          std::clamp<int64_t>(int64_t{last_query} - span.first_position + 1, 0, span.count));
    collect(span, static_cast<int32_t>(i), block.first_query, last_query, out);
  }
  std::fill_n(out.position + out.count, kUnit, std::numeric_limits<int32_t>::max());
  std::fill_n(out.evict + out.count, kUnit, std::numeric_limits<int32_t>::min());
  return out;
}

}  // namespace kvlab
#endif
