;; Stand-in for a part of Higress's Wasm host: its plugins ask for the properties `route_name` and `cluster_name`, which
;; stock Envoy 1.40 calls `xds.route_name` and `xds.cluster_name`. A plugin that asks in vain finds no rule of its own.
;; This filter copies the two, so that Higress's programs behind it see them. Built with wabt's wat2wasm.
(module
  (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))

  (memory (export "memory") 2)
  (data (i32.const 0) "xds\00route_name")
  (data (i32.const 32) "route_name")
  (data (i32.const 64) "xds\00cluster_name")
  (data (i32.const 96) "cluster_name")

  ;; The host asks for memory only to hand values back; nothing is kept from one call to the next.
  (global $free (mut i32) (i32.const 1024))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get $size) (i32.const 15)) (i32.const -16))))
    (local.get $at))

  ;; Copies one property; one that is not there becomes empty, never the one of an earlier route.
  (func $copy (param $from i32) (param $from_size i32) (param $to i32) (param $to_size i32)
    (global.set $free (i32.const 1024))
    (i32.store (i32.const 512) (i32.const 0))
    (i32.store (i32.const 516) (i32.const 0))
    (drop (call $get (local.get $from) (local.get $from_size) (i32.const 512) (i32.const 516)))
    (drop (call $set (local.get $to) (local.get $to_size)
      (i32.load (i32.const 512)) (i32.load (i32.const 516)))))

  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $copy (i32.const 0) (i32.const 14) (i32.const 32) (i32.const 10))
    (call $copy (i32.const 64) (i32.const 16) (i32.const 96) (i32.const 12))
    (i32.const 0))

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_context_create") (param i32 i32)))
