#!/usr/bin/env bash
# Builds every guard for Higress's Wasm host, the same bytes wherever it runs.
# build.sh <output directory> <target directory> [guard...]; both directories absolute
#
# Debian's compiler by absolute path (a rustup compiler on PATH would make other bytes), the standard library from
# its source package, and no path of this machine in the binary.
set -euo pipefail
cd "$(dirname "$0")"
out=$1 target=$2
home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(/usr/bin/rustc --print sysroot)

export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$target
unset RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
export RUSTFLAGS="-Clinker=wasm-ld-19 -Ctarget-feature=+simd128,+bulk-memory -Zlocation-detail=none \
--remap-path-prefix=$home=/cargo --remap-path-prefix=$PWD=/guards --remap-path-prefix=$sysroot=/rust"

guards=("${@:3}")
if [ ${#guards[@]} = 0 ]; then
  mapfile -t guards < <(grep -l '^crate-type = \["cdylib"\]' ./*/Cargo.toml | xargs -n1 dirname | xargs -n1 basename | sort)
fi

# Callbacks that a guard does not listen to; abi.py says why they go.
answers=(proxy_on_response_headers proxy_on_response_body proxy_on_response_trailers)
ends=(proxy_on_done proxy_on_log)
unheard() {
  case $1 in
  prompt-guard | model-allowlist) echo "${answers[@]}" "${ends[@]}" ;;
  usage-guard) echo proxy_on_log ;;
  identity) echo proxy_on_request_body proxy_on_request_trailers proxy_on_response_trailers "${ends[@]}" ;;
  data-masking) echo proxy_on_response_trailers proxy_on_log ;;
  esac
}

mkdir -p "$out"
for guard in "${guards[@]}"; do
  # One at a time: built together, one guard's choice of a dependency's features would change another's bytes.
  /usr/bin/cargo build --quiet --locked --release --target wasm32-unknown-unknown -Zbuild-std=std,panic_abort -p "$guard"
  read -ra without <<<"$(unheard "$guard")"
  python3 abi.py higress "$target/wasm32-unknown-unknown/release/${guard//-/_}.wasm" "$out/$guard.wasm" --without "${without[@]}"
done
(cd "$out" && sha256sum ./*.wasm | sed 's|\./||' >SHA256SUMS)
{
  /usr/bin/rustc --version
  /usr/bin/cargo --version
  wasm-ld-19 --version
} >"$out/TOOLCHAIN"
