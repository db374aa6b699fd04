;; A guest without a will of its own: the test says which address it passes where. It can do what
;; a hostile guest can, and nothing else: read and write its memory, choose what its allocator
;; returns, call the host with any list, and trap.
(component
  (import "host" (instance $host
    (export "attach-input" (func (param "window" (list u8)) (param "segment" u64) (result s64)))
    (export "attach-output" (func (param "window" (list u8)) (param "size" u64) (result s64)))
    (export "detach" (func (param "window" u32) (result s64)))
    (export "publish" (func (param "window" u32) (result s64)))
    (export "give" (func (param "length" u32) (result (list u8))))
  ))

  (core module $memory
    (memory (export "memory") 320)
    (data (i32.const 0x10000) "DATA")
    (global $next (mut i32) (i32.const 1024))
    (func (export "choose") (param i32) (global.set $next (local.get 0)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (global.get $next))
  )
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $bytes))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $attach-input (canon lower (func $host "attach-input") (memory $bytes)))
  (core func $attach-output (canon lower (func $host "attach-output") (memory $bytes)))
  (core func $detach (canon lower (func $host "detach")))
  (core func $publish (canon lower (func $host "publish")))
  (core func $give (canon lower (func $host "give") (memory $bytes) (realloc $realloc)))

  (core module $puppet
    (import "memory" "memory" (memory 1))
    (import "host" "give" (func $give (param i32 i32)))
    (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "poke") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
    (func (export "fill") (param i32 i32 i32)
      (memory.fill (local.get 0) (local.get 2) (local.get 1)))
    ;; Offset of the first byte that differs, or the length.
    (func (export "same") (param $at i32) (param $length i32) (param $value i32) (result i32)
      (local $i i32)
      (block $done
        (loop $next
          (br_if $done (i32.ge_u (local.get $i) (local.get $length)))
          (br_if $done (i32.ne (local.get $value)
            (i32.load8_u (i32.add (local.get $at) (local.get $i)))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next)))
      (local.get $i))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    ;; Where the host was made to put the list.
    (func (export "take") (param $length i32) (result i32)
      (call $give (local.get $length) (i32.const 16))
      (i32.load (i32.const 16)))
    (func (export "trap") unreachable)
  )
  (core instance $puppet (instantiate $puppet
    (with "memory" (instance $memory))
    (with "host" (instance (export "give" (func $give))))
  ))

  (core module $calls
    (import "host" "attach-input" (func $attach-input (param i32 i32 i64) (result i64)))
    (import "host" "attach-output" (func $attach-output (param i32 i32 i64) (result i64)))
    (import "host" "detach" (func $detach (param i32) (result i64)))
    (import "host" "publish" (func $publish (param i32) (result i64)))
    (export "attach-input" (func $attach-input))
    (export "attach-output" (func $attach-output))
    (export "detach" (func $detach))
    (export "publish" (func $publish))
  )
  (core instance $calls (instantiate $calls (with "host" (instance
    (export "attach-input" (func $attach-input))
    (export "attach-output" (func $attach-output))
    (export "detach" (func $detach))
    (export "publish" (func $publish))
  ))))

  (func (export "attach-input") (param "at" u32) (param "length" u32) (param "segment" u64) (result s64)
    (canon lift (core func $calls "attach-input")))
  (func (export "attach-output") (param "at" u32) (param "length" u32) (param "size" u64) (result s64)
    (canon lift (core func $calls "attach-output")))
  (func (export "detach") (param "window" u32) (result s64)
    (canon lift (core func $calls "detach")))
  (func (export "publish") (param "window" u32) (result s64)
    (canon lift (core func $calls "publish")))
  (func (export "choose") (param "at" u32) (canon lift (core func $memory "choose")))
  (func (export "peek") (param "at" u32) (result u32) (canon lift (core func $puppet "peek")))
  (func (export "poke") (param "at" u32) (param "value" u32) (canon lift (core func $puppet "poke")))
  (func (export "fill") (param "at" u32) (param "length" u32) (param "value" u32)
    (canon lift (core func $puppet "fill")))
  (func (export "same") (param "at" u32) (param "length" u32) (param "value" u32) (result u32)
    (canon lift (core func $puppet "same")))
  (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $puppet "grow")))
  (func (export "take") (param "length" u32) (result u32) (canon lift (core func $puppet "take")))
  (func (export "trap") (canon lift (core func $puppet "trap")))
)
