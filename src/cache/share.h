// A budget shared out over several heads by score: the entries of least score over all of them go, however
// they fall (Ada-KV over the heads of a layer, KVzip over the whole model).
#pragma once

#include "cache/wrapper.h"

namespace kvlab {

// Changes the limits of the heads, whose sum stays as far as protected entries allow: of all entries the
// best stay, but of each head at least its protected ones and the floor(safeguard * limit) best. Ties: the
// lower position goes first, then the earlier head. The entries that are safe so get the score +infinity.
void share_by_score(ActingHeads& unit, double safeguard);

}  // namespace kvlab
