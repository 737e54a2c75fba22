// Attention over live entries in pages (entry_page.h). Two kernels: blocked, for lives known beforehand, and
// one query at a time, for policies that need the weights. Both read keys and values where they lie; keys are
// rotated already, softmax and sums are in float.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/attention.h"
#include "kernels/entry_page.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace kvlab {

// Working memory of one thread. It grows to what the largest call needs and is then used again.
struct PageAttentionScratch {
  Buffer<float> q, scores, out, stats;
};

// out[r][g] = sum_j softmax_j(scale q.k_j) v_j over the entries that query r sees: those with position_j <=
// r's position < evict_at_j. Every query must see at least one entry. queries <= kQueryBlock, head_dim even
// and at most kMaxHeadDim, group <= kMaxGroup, type kF32 or kBF16.
//
// Pages without entries that the block sees cost next to nothing. How a run of queries is cut into blocks
// does not change a result at all; which page an entry lies in, and the order of pages, does, by rounding.
//
// With kF32, queries and probabilities stay in float. With kBF16 on a processor with AVX512_BF16 both are
// rounded to bfloat16 (as keys and values are already): each term of a score and each weight moves by up to
// 2^-9 of itself, results by some 3e-3 of the largest |v| (measured with scores up to about 5); elsewhere
// only keys and values are bfloat16.
void page_attention(const QueryBlock& block, std::span<const EntryPage> pages, DType type,
                    PageAttentionScratch& scratch);
// The same in plain loops and double sums; the tests' reference.
void page_attention_reference(const QueryBlock& block, std::span<const EntryPage> pages, DType type);

// One query over slots [0, size) of `pages`, which are all full but the last; slot numbers run on from page
// to page. For each of `group` query heads, q at q + g * q_head:
//   weights[g * stride + slot] = softmax over the slots of scale q_g . k_slot, in float, also with kBF16; the
//                                rest up to the next multiple of 16 becomes 0,
//   out[g * out_head ...]      = sum of weights times values.
// stride is a multiple of 16, at least `size`; weights are aligned to 64 bytes. size >= 1. Rounding is that
// of page_attention.
void attend_entries(std::span<const ConstPageData> pages, int size, DType type, int head_dim, const float* q,
                    int64_t q_head, int group, float scale, float* weights, int64_t stride, float* out,
                    int64_t out_head, PageAttentionScratch& scratch);

}  // namespace kvlab
