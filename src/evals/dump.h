// What one run of a document held, saw and evicted, as a safetensors file: for work outside kvlab, and for
// external(scores=...) and external(evict_at=...), which read such files.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/progress.h"
#include "evals/document_run.h"
#include "format/safetensors.h"

namespace kvlab {

// Tensors of the file, all floats f32. n tokens; layers.<l> for each layer asked for:
//   k, v          layers.<l>.k, .v          [n, kv_heads, head_dim]     as the cache stores them, k rotated
//   q             layers.<l>.q              [n, query_heads, head_dim]  rotated
//   hidden        layers.<l>.hidden         [n, hidden]                 the layer's input after its norm
//   attention     layers.<l>.attention_sum  [query_heads, n]            what all queries together pay to an
//   entry keep          evict_at (i32), keep (u8) [layers, kv_heads, n]       first query that misses it (-1:
//   none) scores        scores                    [layers, kv_heads, n]       of a scorer that scores once
//   always        tokens (i32), nll         [n]                         loss of each token, NaN where none
// The attention is dense and causal, over all entries whether evicted or not, from q and k of this very run.
struct DumpOptions {
  RunOptions run;
  bool k = false, v = false, q = false, hidden = false, attention = false, keep = false, scores = false;
  std::vector<int> layers;  // of the tensors layers.<l>; empty: all
};

// Reads "k,v,keep". Throws UserError for unknown names.
void choose_dump_parts(const std::string& names, DumpOptions& options);

// The file's tensors, beforehand. Throws UserError: a layer that the model has not, scores of a method that
// has none when an entry is written.
std::vector<SafetensorsWriter::Entry> dump_tensors(const Method& method, int64_t tokens,
                                                   const DumpOptions& options);

// Runs the document and writes the file as it goes. Beside the run, one block of tokens is in memory, and
// with `attention` the keys of the layers asked for (f32). Leaves no file when it throws or is interrupted
// (base/progress.h).
DocumentRun dump_document(const std::shared_ptr<const Model>& model,
                          const std::shared_ptr<const Method>& method, const TokenDocument& document,
                          const DumpOptions& options, const std::string& path,
                          const std::map<std::string, std::string>& metadata, Progress& progress);

}  // namespace kvlab
