//! Tasks and drivers on the local backend.

#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::unnecessary_wraps,
    reason = "a test fails by panicking, and its sums are exact"
)]

use std::collections::{BTreeMap, HashMap};

use taps::testing::{Local, run, run_shuffled};
use taps::{
    Archived, Array, Bytes, Completions, Engine, Error, List, Payload, Status, TaskOptions, Wait,
};

#[taps::value]
#[derive(Clone, Debug, PartialEq)]
struct Document {
    title: String,
    words: BTreeMap<String, u64>,
}

#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Short,
    Long { limit: u32 },
}

/// Adds two arrays.
///
/// A second paragraph, which descriptions leave out.
#[taps::task(pure)]
fn add(a: &Array<f64>, b: &Array<f64>) -> Array<f64> {
    Array::from_fn(a.shape(), |i| a.as_slice()[i] + b.as_slice()[i])
}

#[taps::task]
fn title(document: &Archived<Document>, kind: Kind) -> taps::Result<(String, u64)> {
    let words = document.words.values().map(|count| count.to_native()).sum();
    Ok(match kind {
        Kind::Short => (document.title.to_string(), words),
        Kind::Long { limit } => (document.title.chars().take(limit as usize).collect(), words),
    })
}

#[taps::task]
fn shout(text: &str, suffix: &[u8]) -> taps::Result<String> {
    Ok(text.to_uppercase() + std::str::from_utf8(suffix)?)
}

#[taps::task]
fn sizes(data: Payload, rest: List<Payload>) -> Vec<u64> {
    std::iter::once(data)
        .chain(rest.into_payloads())
        .map(|payload| payload.size())
        .collect()
}

#[taps::task]
fn total(parts: List<Array<f64>>) -> taps::Result<f64> {
    parts
        .map(|part| part.map(|part| part.as_slice().iter().sum::<f64>()))
        .sum()
}

#[taps::task(name = "fails-until")]
fn fails_until(attempt: u32) -> taps::Result<u32> {
    if taps::attempt() < attempt {
        return Err(Error::app(
            "TooEarly",
            format!("attempt {}", taps::attempt()),
        ));
    }
    Ok(attempt)
}

#[derive(Debug, thiserror::Error)]
#[error("broken: {0}")]
struct Broken(u32);

#[taps::task]
fn breaks(code: u32) -> Result<u64, Broken> {
    Err(Broken(code))
}

#[taps::task]
fn panics() {
    panic!("on purpose");
}

#[taps::task]
fn next(number: u64) -> u64 {
    number + 1
}

#[taps::task]
fn draw() -> u64 {
    use taps::rand::RngExt as _;
    taps::rng().random()
}

#[taps::task]
fn nested(pair: (u32, String), table: HashMap<String, Option<Vec<f32>>>) -> usize_like::Count {
    table.len() as u64 + u64::from(pair.0) + pair.1.len() as u64
}

mod usize_like {
    pub(super) type Count = u64;
}

fn document() -> Document {
    Document {
        title: "Émile".to_owned(),
        words: [("a".to_owned(), 2), ("b".to_owned(), 5)].into(),
    }
}

#[test]
fn every_kind_of_parameter_arrives() -> taps::Result<()> {
    run(|engine| {
        let written = document();
        let (short, words) = engine.submit(title::call(written.clone(), Kind::Short))?;
        assert_eq!((short.result()?.as_str(), words.result()?), ("Émile", 7));
        let (long, _) = engine.submit(title::call(&written, Kind::Long { limit: 2 }))?;
        assert_eq!(long.view()?.as_str(), "Ém");
        let shouted = engine.submit(shout::call(&short, b"!"))?;
        assert_eq!(shouted.result()?, "ÉMILE!");
        let data = vec![0u8; 100];
        let sizes = engine.submit(sizes::call(data, [&shouted.payload()?]))?;
        assert_eq!(sizes.result()?[0], 100);
        let table = HashMap::from([("x".to_owned(), Some(vec![1.0])), ("y".to_owned(), None)]);
        let count = engine.submit(nested::call((3, "ab".to_owned()), table))?;
        assert_eq!(count.result()?, 7);
        Ok(())
    })
}

#[test]
fn arrays_flow_from_task_to_task() -> taps::Result<()> {
    run(|engine| {
        let one = Array::from_slice(&[1.0, 2.0, 3.0]);
        let two = engine.submit(add::call(&one, &one))?;
        let four = engine.submit(add::call(&two, two.clone()))?;
        assert_eq!(four.result()?.as_slice(), &[4.0, 8.0, 12.0]);
        let sum = engine.submit(total::call([&two, &four]))?;
        assert_eq!(sum.result()?, 36.0);
        let none = engine.submit(total::call(Vec::<Array<f64>>::new()))?;
        assert_eq!(none.result()?, 0.0);
        Ok(())
    })
}

#[test]
fn failures_have_outcome_kind_and_message() -> taps::Result<()> {
    run(|engine| {
        let broken = engine.submit(breaks::call(7))?;
        let child = engine.submit(next::call(&broken))?;
        let panicked = engine.submit(panics::call())?;
        let failure = |error: Error| {
            let failure = error.failure().expect("a task's failure").clone();
            (failure.outcome, failure.kind, failure.message)
        };
        let text = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(
            failure(broken.result().unwrap_err()),
            text("task-error", "Broken", "broken: 7")
        );
        assert_eq!(
            failure(child.result().unwrap_err()),
            text("upstream-failed", "Broken", "breaks failed: broken: 7")
        );
        assert_eq!(
            failure(panicked.result().unwrap_err()),
            text("trap", "panic", "on purpose")
        );
        assert_eq!(panicked.status(), Status::Failed);
        Ok(())
    })
}

#[test]
fn retries_make_further_attempts() -> taps::Result<()> {
    run(|engine| {
        let options = TaskOptions::new().retries(2).label("patient");
        let patient = engine.submit_with(fails_until::call(2), &options)?;
        assert_eq!(patient.result()?, 2);
        let impatient = engine.submit(fails_until::call(1))?;
        assert_eq!(impatient.result().unwrap_err().kind(), "TooEarly");
        Ok(())
    })
}

#[test]
fn cancelled_tasks_do_not_run() {
    let (result, trace) = Local::new().trace(|engine| {
        let future = engine.submit(next::call(1))?;
        future.cancel();
        assert_eq!(
            future.failure().map(|failure| failure.outcome).as_deref(),
            Some("cancelled")
        );
        future.result()
    });
    assert!(result.is_err());
    assert_eq!(trace.finished, [("next", false)]);
}

#[test]
fn completions_deliver_each_future_once() -> taps::Result<()> {
    for seed in 0..10 {
        run_shuffled(seed, |engine| {
            let mut completions = Completions::new();
            for number in 0..10 {
                completions.add(engine.submit(next::call(number))?);
            }
            let mut seen = Vec::new();
            while let Some((future, status)) = completions.next_within(None) {
                assert_eq!(status, Status::Succeeded);
                let value = future.result()?;
                seen.push(value);
                if value <= 5 {
                    completions.add(engine.submit(next::call(value + 100))?);
                }
            }
            seen.sort_unstable();
            let expected: Vec<_> = (1..=10).chain(102..=106).collect();
            assert_eq!(seen, expected);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn wait_tells_finished_from_pending() -> taps::Result<()> {
    run(|engine| {
        let futures = (0..3)
            .map(|n| engine.submit(next::call(n)))
            .collect::<taps::Result<Vec<_>>>()?;
        let now = engine.wait(&futures, Wait::All, Some(std::time::Duration::ZERO));
        assert_eq!(now.pending, [0, 1, 2]);
        let first = engine.wait(&futures, Wait::First, None);
        assert_eq!((first.finished.len(), first.pending.len()), (1, 2));
        let all = engine.wait(&futures, Wait::All, None);
        assert_eq!(all.finished, [0, 1, 2]);
        let order: Vec<_> = engine
            .as_completed(futures)
            .map(|future| future.id())
            .collect();
        assert_eq!(order.len(), 3);
        assert_eq!(engine.map((0..3).map(next::call))?, [1, 2, 3]);
        Ok(())
    })
}

#[test]
fn randomness_depends_on_the_seed_only() -> taps::Result<()> {
    fn drawn(engine: &Engine) -> taps::Result<Vec<u64>> {
        engine.map((0..4).map(|_| draw::call()))
    }
    let numbers = Local::new().seed(1).run(drawn)?;
    assert_eq!(numbers, Local::new().seed(1).shuffled(9).run(drawn)?);
    assert_ne!(numbers, Local::new().seed(2).run(drawn)?);
    assert_ne!(numbers[0], numbers[1]);
    Ok(())
}

#[test]
fn files_travel_as_payloads() -> taps::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let content = std::fs::read(path)?;
    run(|engine| {
        let file = engine.input_file(path)?;
        assert_eq!(file.size(), content.len() as u64);
        let pieces = file.chunks(100).collect::<taps::Result<Vec<_>>>()?;
        assert_eq!(pieces.concat(), content);
        let shouted = engine.submit(shout::call("", &file))?;
        assert_eq!(shouted.result()?.as_bytes(), content);
        assert!(engine.input_file("/does/not/exist").is_err());
        Ok(())
    })
}

#[test]
fn functions_stay_functions() -> taps::Result<()> {
    assert_eq!(next(1), 2);
    let archived = taps::archive(&document())?;
    assert_eq!(title(&archived, Kind::Short)?.1, 7);
    assert_eq!(
        total([Array::from_slice(&[1.0, 2.0])].into_iter().collect())?,
        3.0
    );
    Ok(())
}

#[test]
fn tasks_describe_themselves() {
    let task = add::task();
    assert_eq!(task.help, "Adds two arrays.");
    assert_eq!(
        task.parameters,
        [("a", "&Array<f64>"), ("b", "&Array<f64>")]
    );
    assert_eq!(task.outputs, ["Array<f64>"]);
    assert!(task.pure);
    assert_eq!(title::task().outputs, ["String", "u64"]);
    assert_eq!(fails_until::task().name, "fails-until");
    let names: Vec<_> = taps::tasks("taps").iter().map(|task| task.name).collect();
    assert!(names.is_sorted() && names.contains(&"fails-until"));
}

#[test]
fn a_wrong_number_of_arguments_is_an_error() {
    let host = std::rc::Rc::new(Nowhere);
    let result = add::task().run_native(host, Vec::new());
    let error = result.err().expect("two arguments are missing");
    assert_eq!(error.kind, "ArgumentError");
}

/// Surroundings that offer nothing.
struct Nowhere;

impl taps::native::TaskHost for Nowhere {
    fn run_program(
        &self,
        _: taps::native::ProgramCall<'_, taps::native::ProgramPayload>,
    ) -> Result<taps::native::ProgramEnd<taps::native::ProgramPayload>, taps::native::ProgramRefusal>
    {
        Err(taps::native::ProgramRefusal::NotAllowed(String::new()))
    }
    fn seed(&self) -> u64 {
        0
    }
    fn attempt(&self) -> u32 {
        0
    }
    fn clock(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
    fn kernel_mode(&self) -> taps::KernelMode {
        taps::KernelMode::Host
    }
    fn log(&self, _: taps::Level, _: &str) {}
    fn sleep(&self, _: std::time::Duration) -> Result<(), taps::native::Cancelled> {
        Err(taps::native::Cancelled)
    }
    fn is_cancelled(&self) -> bool {
        true
    }
    fn create_output(&self, _: usize) -> Option<Box<dyn taps::native::OutputBuffer>> {
        None
    }
}

#[taps::task]
fn naps() {
    taps::sleep(std::time::Duration::from_secs(1));
}

#[taps::task]
fn multiplies(a: &Array<f64>) -> taps::Result<Array<f64>> {
    let mut product = Array::zeros(&[a.rows(), a.rows()]);
    taps::kernels::gemm(1.0, a.view(), a.view().transpose(), 0.0, product.view_mut())?;
    Ok(product)
}

#[test]
fn a_cancelled_native_task_unwinds_with_cancelled() {
    use taps::native::{Cancelled, NativeArgument};
    let bytes = taps::Value::encode(&Array::<f64>::zeros(&[2, 2]))
        .unwrap()
        .into_vec();
    for (task, arguments) in [
        (naps::task(), Vec::new()),
        (multiplies::task(), vec![NativeArgument::Inline(bytes)]),
    ] {
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            task.run_native(std::rc::Rc::new(Nowhere), arguments.clone())
                .is_ok()
        }));
        assert!(unwound.unwrap_err().is::<Cancelled>(), "{}", task.name);
    }
    // The surroundings are those of before again.
    assert_eq!(taps::seed(), 0);
    assert!(matches!(Bytes::from(vec![1]).as_slice(), [1]));
}

#[test]
fn payloads_may_lie_at_any_address() {
    use taps::Value as _;
    use taps::native::{NativeArgument, NativeOutput};
    let array = Array::<f64>::from_slice(&[1.0, 2.0]);
    let text = "text".to_owned().encode().unwrap();
    for offset in 0..16 {
        let argument = |content: &[u8]| {
            NativeArgument::Payload(std::sync::Arc::new(Misaligned::new(offset, content)))
        };
        let arrays = vec![argument(&array.encode().unwrap()); 2];
        let outputs = add::task()
            .run_native(std::rc::Rc::new(Nowhere), arrays)
            .unwrap();
        let NativeOutput::Bytes(sum) = &outputs[0] else {
            panic!("plain bytes")
        };
        let sum = Array::<f64>::decode(Bytes::from(sum.clone())).unwrap();
        assert_eq!(sum.as_slice(), &[2.0, 4.0]);
        let texts = vec![argument(&text), argument(b"!")];
        assert!(
            shout::task()
                .run_native(std::rc::Rc::new(Nowhere), texts)
                .is_ok()
        );
    }
}

struct Misaligned {
    bytes: Vec<u8>,
    offset: usize,
}

impl Misaligned {
    fn new(offset: usize, content: &[u8]) -> Self {
        let mut bytes = vec![0; offset];
        bytes.extend_from_slice(content);
        Self { bytes, offset }
    }
}

impl taps::native::HostPayload for Misaligned {
    fn size(&self) -> u64 {
        (self.bytes.len() - self.offset) as u64
    }
    fn as_slice(&self) -> Option<&[u8]> {
        Some(&self.bytes[self.offset..])
    }
    fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<usize> {
        Ok(0)
    }
}

mod programs {
    use taps::{File, Payload, Program};

    #[taps::task(programs("cat"))]
    fn double(text: Payload) -> taps::Result<(File, u64)> {
        let done = Program::new("cat")
            .args(["-", "in/text"])
            .input("in/text", &text)
            .stdin(&text)
            .run_checked()?;
        let length = done.stdout.len() as u64;
        let copy = Program::new("cat").input("b", done.stdout).arg("b").run()?;
        let file = Payload::from(copy.stdout);
        Ok((File::new(file), length))
    }

    #[taps::task(programs("cat"))]
    fn fails() -> taps::Result<File> {
        let done = Program::new("cat").arg("absent").output("x").run()?;
        Ok(File::new(done.output("x")?))
    }

    #[taps::task]
    fn lists_none() -> taps::Result<()> {
        Program::new("cat").run().map(drop)
    }

    #[test]
    fn files_and_streams_go_to_a_program_and_back() {
        let (text, length) = taps::testing::run(|engine| {
            let (file, length) = engine.submit(double::call(&b"ab"[..]))?;
            Ok((file.payload()?.bytes()?.into_vec(), length.result()?))
        })
        .expect("cat works");
        assert_eq!((text.as_slice(), length), (&b"abab"[..], 4));
    }

    #[test]
    fn what_goes_wrong_is_named() {
        let outcome = taps::testing::run(|engine| engine.submit(fails::call())?.finish());
        let error = outcome.expect_err("there is no such file");
        assert_eq!(error.kind(), taps::PROGRAM_ERROR);
        let text = error.to_string();
        assert!(
            text.contains("it wrote no file `x` (exit code 1)"),
            "{text}"
        );
        assert!(text.contains("absent"), "{text}");
        let outcome = taps::testing::run(|engine| engine.submit(lists_none::call())?.finish());
        let text = outcome.expect_err("not listed").to_string();
        assert!(text.contains("program `cat`: is not allowed"), "{text}");
    }
}
