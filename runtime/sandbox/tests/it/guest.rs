//! Components from a few lines of text.

use std::fmt::Write;

/// Pages of the guest's memory: 20 MiB.
pub(crate) const PAGES: u32 = 320;

/// A task that adds its argument up through a window, and detaches it.
pub(crate) const SUMS: (&str, &str) = (
    "sums",
    "(local.set $a (call $payload (local.get $args) (i32.const 0)))
     (local.set $c (i32.wrap_i64 (call $size (local.get $a))))
     (call $attach (local.get $a) (i32.const 0x100000) (i32.const 0x800000) (i32.const 64))
     (if (i32.load8_u (i32.const 64)) (then (return (call $payload-error))))
     (local.set $b (i32.add (i32.const 0x100000) (i32.wrap_i64 (i64.load (i32.const 72)))))
     (local.set $c (i32.add (local.get $b) (local.get $c)))
     (block $done
       (loop $next
         (br_if $done (i32.ge_u (local.get $b) (local.get $c)))
         (local.set $x (i64.add (local.get $x) (i64.load8_u (local.get $b))))
         (local.set $b (i32.add (local.get $b) (i32.const 1)))
         (br $next)))
     (call $detach (local.get $a) (i32.const 64))
     (if (i32.load8_u (i32.const 64)) (then (unreachable)))
     (call $number (local.get $x))",
);

/// A component under construction.
#[derive(Clone)]
pub(crate) struct Guest {
    memory: String,
    tasks: Vec<(String, String)>,
    describe: String,
    windows: bool,
    core_item: String,
}

impl Guest {
    /// A component with these tasks: name, and the body of a function with the parameters `$args` and
    /// `$count` and some locals, which gives the address of its result.
    pub(crate) fn new(tasks: &[(&str, &str)]) -> Self {
        let owned = |(name, body): &(&str, &str)| ((*name).to_owned(), (*body).to_owned());
        Self {
            memory: PAGES.to_string(),
            tasks: tasks.iter().map(owned).collect(),
            describe: "unreachable".to_owned(),
            windows: true,
            core_item: String::new(),
        }
    }

    /// Size of its memory, in pages: least and, if wanted, most.
    pub(crate) fn memory(mut self, pages: &str) -> Self {
        pages.clone_into(&mut self.memory);
        self
    }

    /// Body of its `describe`.
    pub(crate) fn describe(mut self, body: &str) -> Self {
        body.clone_into(&mut self.describe);
        self
    }

    /// With one more item in the core module that has the memory.
    pub(crate) fn core_item(mut self, item: &str) -> Self {
        item.clone_into(&mut self.core_item);
        self
    }

    /// Without the imports that map windows.
    pub(crate) fn without_windows(mut self) -> Self {
        self.windows = false;
        self
    }

    /// Names of its tasks, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tasks.iter().map(|(name, _)| name.as_str())
    }

    /// The text of the component.
    pub(crate) fn text(&self) -> String {
        let mut functions = String::new();
        let mut table = String::new();
        for (name, body) in &self.tasks {
            let _ = writeln!(
                functions,
                "(func $task:{name} (param $args i32) (param $count i32) (result i32)
                   (local $a i32) (local $b i32) (local $c i32) (local $x i64)
                   {body})"
            );
            let _ = write!(table, " $task:{name}");
        }
        let windows = |text| if self.windows { text } else { "" };
        include_str!("app.wat")
            .replace(
                "(global $next ",
                &format!("{}\n    (global $next ", self.core_item),
            )
            .replace(";;MEMORY", &self.memory)
            .replace(";;TABLE", &table)
            .replace(";;TASKS", &functions)
            .replace(";;DESCRIBE", &self.describe)
            .replace(";;WINDOWS", windows(IMPORTS))
            .replace(";;LOWER", windows(LOWER))
            .replace(";;CORE-IMPORTS", windows(CORE_IMPORTS))
            .replace(";;CORE-EXPORTS", windows(CORE_EXPORTS))
    }

    /// The component.
    pub(crate) fn wasm(&self) -> Vec<u8> {
        wat::parse_str(self.text()).expect("the test's text is a component")
    }
}

const IMPORTS: &str = r#"
    (export "[method]payload.attach" (func (param "self" (borrow $payload)) (param "window" (list u8))
      (result (result u64 (error $error)))))
    (export "[method]payload.detach" (func (param "self" (borrow $payload))
      (result (result (error $error)))))
    (export "[static]output-buffer.create" (func (param "window" (list u8)) (param "size" u64)
      (result (result (tuple (own $output-buffer) u64) (error $error)))))"#;

const LOWER: &str = r#"
  (core func $attach (canon lower (func $payloads "[method]payload.attach") (memory $bytes)))
  (core func $detach (canon lower (func $payloads "[method]payload.detach") (memory $bytes)))
  (core func $create (canon lower (func $payloads "[static]output-buffer.create") (memory $bytes)))"#;

const CORE_IMPORTS: &str = r#"
    (import "host" "attach" (func $attach (param i32 i32 i32 i32)))
    (import "host" "detach" (func $detach (param i32 i32)))
    (import "host" "create" (func $create (param i32 i32 i64 i32)))"#;

const CORE_EXPORTS: &str = r#"
      (export "attach" (func $attach))
      (export "detach" (func $detach))
      (export "create" (func $create))"#;
