;; A component with one task, which divides by zero: compilers of languages that check divisions do not
;; emit this instruction without its check.
(component
  (type $payload-errors (enum "out-of-range" "misaligned-window" "window-too-small" "window-in-use"
    "window-limit" "wrong-state" "store-full" "not-granted" "io" "cancelled"))
  (import "taps:core/payloads@0.1.0" (instance $payloads
    (alias outer 1 $payload-errors (type $errors))
    (export "payload-error" (type $error (eq $errors)))
    (export "payload" (type $payload (sub resource)))
    (export "output-buffer" (type $output-buffer (sub resource)))
  ))
  (alias export $payloads "payload" (type $payload))
  (alias export $payloads "output-buffer" (type $output-buffer))

  (core module $guest
    (memory (export "memory") 1)
    (global $zero (mut i32) (i32.const 0))
    ;; Arguments: the tasks here are called without any.
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "run") (param i32 i32 i32) (result i32)
      (i32.div_u (i32.const 1) (global.get $zero)))
  )
  (core instance $guest (instantiate $guest))
  (alias core export $guest "memory" (core memory $bytes))
  (alias core export $guest "realloc" (core func $realloc))

  (type $argument (variant (case "inline" (list u8)) (case "payload" (own $payload))))
  (type $output (variant (case "inline" (list u8)) (case "buffer" (own $output-buffer))))
  (type $task-error (record (field "kind" string) (field "message" string)))
  (type $run (func (param "task" u32) (param "args" (list $argument))
    (result (result (list $output) (error $task-error)))))
  (func $run (type $run)
    (canon lift (core func $guest "run") (memory $bytes) (realloc $realloc)))

  ;; Types of an exported interface need names of their own.
  (component $named
    (import "payload" (type $payload (sub resource)))
    (import "output-buffer" (type $output-buffer (sub resource)))
    (type $argument' (variant (case "inline" (list u8)) (case "payload" (own $payload))))
    (import "argument" (type $argument (eq $argument')))
    (type $output' (variant (case "inline" (list u8)) (case "buffer" (own $output-buffer))))
    (import "output" (type $output (eq $output')))
    (type $task-error' (record (field "kind" string) (field "message" string)))
    (import "task-error" (type $task-error (eq $task-error')))
    (import "run" (func $run (param "task" u32) (param "args" (list $argument))
      (result (result (list $output) (error $task-error)))))
    (export $payload-out "payload" (type $payload))
    (export $output-buffer-out "output-buffer" (type $output-buffer))
    (type $argument'' (variant (case "inline" (list u8)) (case "payload" (own $payload-out))))
    (export $argument-out "argument" (type $argument''))
    (type $output'' (variant (case "inline" (list u8)) (case "buffer" (own $output-buffer-out))))
    (export $output-out "output" (type $output''))
    (export $task-error-out "task-error" (type $task-error'))
    (export "run" (func $run) (func (param "task" u32) (param "args" (list $argument-out))
      (result (result (list $output-out) (error $task-error-out)))))
  )
  (instance $tasks (instantiate $named
    (with "payload" (type $payload))
    (with "output-buffer" (type $output-buffer))
    (with "argument" (type $argument))
    (with "output" (type $output))
    (with "task-error" (type $task-error))
    (with "run" (func $run))))
  (export "taps:core/tasks@0.1.0" (instance $tasks))
)
