#!/usr/bin/env bash
# Holds the arrows of ARCHITECTURE.md: which folder of src may include which. Usage: check_includes.sh ROOT
set -u
cd "$1/src" || exit 2
declare -A allowed=(
  [base]="base"
  [tensor]="base tensor"
  [kernels]="base tensor kernels"
  [format]="base tensor format"
  [tokenizer]="base format tokenizer"
  [cache]="base tensor kernels cache"
  [methods]="base tensor kernels format cache"
  [models]="base tensor kernels format models"
  [engine]="base tensor kernels format tokenizer cache models engine"
  [train]="base tensor kernels format tokenizer cache models engine results train"
  [results]="base results"
  [evals]="base tensor kernels format tokenizer cache models engine results evals"
  [reports]="base results reports"
  [cli]="base tensor kernels format tokenizer cache methods models engine train results evals reports cli"
)
bad=0
while IFS=: read -r file line include; do
  folder=${file%%/*}
  target=$(sed -E 's/.*"([^"]+)".*/\1/' <<<"$include")
  from=${target%%/*}
  case " ${allowed[$folder]:-} " in
    *" $from "*) ;;
    *) echo "src/$file:$line: $folder/ may not include $target"; bad=1 ;;
  esac
  if [ "$folder" = methods ] && [ "$from" = methods ]; then
    echo "src/$file:$line: a method's file includes no other method's: $target"; bad=1
  fi
done < <(grep -rnE '^#include "' --include='*.h' --include='*.cc' .  | sed 's#^\./##')
exit $bad
