//! What can be set, and what goes with what.

use taps::{Error, InputFile, Result};

use crate::patterns::{Pattern, Shape};

/// Tasks that a pattern or a replay has outstanding unless told otherwise.
const OUTSTANDING: u64 = 4096;
/// Widest pattern in which each task takes the outputs of all others.
const WIDEST_ALL_TO_ALL: u32 = 4096;
/// Bytes that one replayed task makes at most, unless told otherwise.
const REPLAY_MAX_BYTES: u32 = 1_000_000;
/// Share of the bytes of a workflow's files that a replay moves, unless told otherwise.
const REPLAY_DATA_SCALE: f64 = 0.001;

/// Shape of the task graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
pub(crate) enum Structure {
    Bag,
    Diamond,
    Reduce,
    Sequential,
    Trivial,
    NoComm,
    Stencil,
    StencilPeriodic,
    Dom,
    Tree,
    Fft,
    AllToAll,
    Nearest,
    Spread,
    Random,
    Replay,
}

/// What fields a structure has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// A graph of so many tasks.
    Counted,
    /// Steps of tasks side by side.
    Steps(Shape),
    /// A workflow that ran elsewhere.
    Replay,
}

impl Structure {
    pub(crate) fn family(self) -> Family {
        Family::Steps(match self {
            Self::Bag | Self::Diamond | Self::Reduce | Self::Sequential => return Family::Counted,
            Self::Replay => return Family::Replay,
            Self::Trivial => Shape::Trivial,
            Self::NoComm => Shape::NoComm,
            Self::Stencil => Shape::Stencil,
            Self::StencilPeriodic => Shape::StencilPeriodic,
            Self::Dom => Shape::Dom,
            Self::Tree => Shape::Tree,
            Self::Fft => Shape::Fft,
            Self::AllToAll => Shape::AllToAll,
            Self::Nearest => Shape::Nearest,
            Self::Spread => Shape::Spread,
            Self::Random => Shape::Random,
        })
    }
}

/// What a task does besides passing data on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
pub(crate) enum Kernel {
    /// Sleeps for the rest of its time.
    Sleep,
    /// Nothing.
    Empty,
    /// Multiplies and adds.
    Compute,
    /// Goes over a buffer.
    Memory,
    /// Computes, as much as is drawn for it.
    Imbalanced,
}

/// What payloads hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
pub(crate) enum Content {
    /// Pseudo-random bytes.
    Random,
    /// Words that count up, made as fast as memory takes them.
    Plain,
}

/// Synthetic task graphs: bags, trees, stencils and the like, and replayed workflows.
#[derive(Debug, taps::Config)]
#[taps(check = Synthetic::check)]
pub(crate) struct Synthetic {
    /// Shape of the task graph.
    pub(crate) structure: Structure,
    /// Number of tasks of bag, diamond (has two more), reduce (one more) and sequential.
    #[taps(min = 1)]
    pub(crate) task_count: Option<u32>,
    /// Bytes that each task takes and gives.
    #[taps(default = 0, max = 2_147_483_647)]
    pub(crate) task_data_bytes: u32,
    /// Least duration of a task, in seconds.
    #[taps(default = 0.0, min = 0.0, max = 1e6)]
    pub(crate) task_sleep: f64,
    /// Most tasks outstanding at once; required for bag.
    #[taps(min = 1)]
    pub(crate) bag_max_running: Option<u32>,
    /// Tasks to run before the graph.
    #[taps(default = 0)]
    pub(crate) warmup_tasks: u32,
    /// Standard deviation of the duration, in seconds.
    #[taps(default = 0.0, min = 0.0, max = 1e6)]
    pub(crate) task_std: f64,
    /// Check the content of every payload, by a hash that it carries.
    #[taps(default = true)]
    pub(crate) verify: bool,
    /// Content of payloads: `plain` costs no more than writing memory; it carries no hash.
    #[taps(default = Content::Random)]
    pub(crate) content: Content,
    /// Read every byte of the inputs, also where they are not checked.
    #[taps(default = false)]
    pub(crate) read_inputs: bool,
    /// Keep the warm-up in a phase of its own and out of the counts.
    #[taps(default = true)]
    pub(crate) warmup_exclude: bool,
    /// What a task does besides passing data on.
    #[taps(default = Kernel::Sleep)]
    pub(crate) kernel: Kernel,
    /// Iterations of compute, of 128 floating-point operations each; mean of imbalanced; passes of memory.
    #[taps(min = 1, max = 1_000_000_000_000)]
    pub(crate) kernel_iterations: Option<u64>,
    /// Size of the buffer of memory.
    #[taps(min = 8, max = 1_073_741_824)]
    pub(crate) kernel_bytes: Option<u32>,
    /// Width of the range from which imbalanced draws, over its mean; none for 1: half to one and a half times.
    #[taps(min = 0.0, max = 2.0)]
    pub(crate) kernel_imbalance: Option<f64>,
    /// Most tasks of a step, for patterns of steps.
    #[taps(min = 1, max = 1_000_000)]
    pub(crate) width: Option<u32>,
    /// Steps, one after the other.
    #[taps(min = 1, max = 10_000_000)]
    pub(crate) steps: Option<u32>,
    /// Tasks of the step before among which nearest, spread and random find their parents; none for 3, or all
    /// where spread has fewer.
    #[taps(min = 0, max = 4096)]
    pub(crate) radix: Option<u32>,
    /// Steps after which spread and random repeat; none for 3.
    #[taps(min = 1)]
    pub(crate) period: Option<u32>,
    /// Probability of each dependency of random; none for 0.25.
    #[taps(min = 0.0, max = 1.0)]
    pub(crate) fraction: Option<f64>,
    /// Steps whose tasks may be outstanding at once; none for 4096 tasks, and no less than two steps.
    #[taps(min = 1)]
    pub(crate) window: Option<u32>,
    /// Workflow to replay, a file in WfFormat 1.5 or 1.6; none for a small one that is generated.
    pub(crate) instance: Option<InputFile>,
    /// Duration of a replayed task over that of the original; none for two seconds of all tasks together, and no
    /// longer than the original.
    #[taps(min = 0.0, max = 1e6)]
    pub(crate) replay_time_scale: Option<f64>,
    /// Bytes of a replayed file over those of the original; none for 0.001.
    #[taps(min = 0.0, max = 1e6)]
    pub(crate) replay_data_scale: Option<f64>,
    /// Most bytes that one replayed task makes; files are made smaller alike to fit; none for 1,000,000.
    #[taps(max = 2_000_000_000)]
    pub(crate) replay_max_bytes: Option<u32>,
}

impl Synthetic {
    fn check(&self) -> Result<()> {
        match self.structure.family() {
            Family::Counted => self.check_counted()?,
            Family::Steps(shape) => self.check_steps(shape)?,
            Family::Replay => self.check_replay()?,
        }
        self.check_kernel()?;
        if self.content == Content::Plain && self.verify {
            return Err(Error::config(
                "verify",
                "true",
                "false, because content is plain and carries no hash",
            ));
        }
        Ok(())
    }

    fn check_counted(&self) -> Result<()> {
        self.required(
            "task_count",
            self.task_count,
            "a whole number of at least 1",
        )?;
        if self.structure == Structure::Bag {
            let running = self.bag_max_running;
            self.required("bag_max_running", running, "a whole number of at least 1")?;
        }
        self.no_steps()?;
        self.no_replay()
    }

    fn check_steps(&self, shape: Shape) -> Result<()> {
        self.refused("task_count", self.task_count)?;
        self.refused("bag_max_running", self.bag_max_running)?;
        self.no_replay()?;
        self.required("width", self.width, "a whole number of at least 1")?;
        self.required("steps", self.steps, "a whole number of at least 1")?;
        let random = shape == Shape::Random;
        if !matches!(shape, Shape::Nearest | Shape::Spread) && !random {
            self.refused("radix", self.radix)?;
        }
        if shape != Shape::Spread && !random {
            self.refused("period", self.period)?;
        }
        if !random {
            self.refused("fraction", self.fraction)?;
        }
        let width = self.width.unwrap_or(1);
        if shape == Shape::AllToAll && width > WIDEST_ALL_TO_ALL {
            let expected = format!(
                "a whole number from 1 to {WIDEST_ALL_TO_ALL}, because structure is all-to-all"
            );
            return Err(Error::config("width", width, expected));
        }
        let radix = self.radix();
        if shape == Shape::Spread && !(1..=width).contains(&radix) {
            let expected =
                format!("a whole number from 1 to the width, {width}, because structure is spread");
            return Err(Error::config("radix", radix, expected));
        }
        Ok(())
    }

    fn check_replay(&self) -> Result<()> {
        self.refused("task_count", self.task_count)?;
        self.refused("bag_max_running", self.bag_max_running)?;
        self.no_steps()?;
        if matches!(self.kernel, Kernel::Memory | Kernel::Imbalanced) {
            let expected = "sleep, compute or empty, because structure is replay";
            return Err(self.wrong_kernel(expected));
        }
        for (field, value) in [("task_sleep", self.task_sleep), ("task_std", self.task_std)] {
            if value != 0.0 {
                let expected = "0, because structure is replay: the instance has the durations";
                return Err(Error::config(field, value, expected));
            }
        }
        if self.task_data_bytes != 0 {
            let expected = "0, because structure is replay: the instance has the sizes";
            return Err(Error::config(
                "task_data_bytes",
                self.task_data_bytes,
                expected,
            ));
        }
        if self.kernel == Kernel::Empty && self.replay_time_scale.is_some() {
            return Err(self.kernel_refuses("replay_time_scale", self.replay_time_scale));
        }
        Ok(())
    }

    fn check_kernel(&self) -> Result<()> {
        let kernel = self.kernel;
        let replay = self.structure == Structure::Replay;
        if kernel != Kernel::Sleep {
            for (field, value) in [("task_sleep", self.task_sleep), ("task_std", self.task_std)] {
                if value != 0.0 {
                    let expected = format!("0, because kernel is {}", self.kernel_word());
                    return Err(Error::config(field, value, expected));
                }
            }
        }
        let iterations = self.kernel_iterations;
        match kernel {
            Kernel::Compute if replay && iterations.is_some() => {
                self.refused("kernel_iterations", iterations)?;
            }
            Kernel::Compute | Kernel::Imbalanced if iterations.is_none() && !replay => {
                let expected = format!(
                    "a whole number of at least 1, because kernel is {}",
                    self.kernel_word()
                );
                return Err(Error::config("kernel_iterations", "none", expected));
            }
            Kernel::Sleep | Kernel::Empty if iterations.is_some() => {
                return Err(self.kernel_refuses("kernel_iterations", iterations));
            }
            _ => {}
        }
        match (kernel, self.kernel_bytes) {
            (Kernel::Memory, None) => {
                let expected = "a whole number of at least 8, because kernel is memory";
                return Err(Error::config("kernel_bytes", "none", expected));
            }
            (Kernel::Memory, _) | (_, None) => {}
            (_, bytes) => return Err(self.kernel_refuses("kernel_bytes", bytes)),
        }
        if kernel != Kernel::Imbalanced && self.kernel_imbalance.is_some() {
            return Err(self.kernel_refuses("kernel_imbalance", self.kernel_imbalance));
        }
        Ok(())
    }

    fn no_steps(&self) -> Result<()> {
        self.refused("width", self.width)?;
        self.refused("steps", self.steps)?;
        self.refused("radix", self.radix)?;
        self.refused("period", self.period)?;
        self.refused("fraction", self.fraction)?;
        self.refused("window", self.window)
    }

    fn no_replay(&self) -> Result<()> {
        self.refused("instance", self.instance.as_ref())?;
        self.refused("replay_time_scale", self.replay_time_scale)?;
        self.refused("replay_data_scale", self.replay_data_scale)?;
        self.refused("replay_max_bytes", self.replay_max_bytes)
    }

    fn required(&self, field: &str, value: Option<u32>, expected: &str) -> Result<()> {
        if value.is_some() {
            return Ok(());
        }
        let expected = format!("{expected}, because structure is {}", self.structure_word());
        Err(Error::config(field, "none", expected))
    }

    fn refused<T: std::fmt::Display>(&self, field: &str, value: Option<T>) -> Result<()> {
        let Some(value) = value else {
            return Ok(());
        };
        let expected = format!("none, because structure is {}", self.structure_word());
        Err(Error::config(field, value, expected))
    }

    fn kernel_refuses<T: std::fmt::Display>(&self, field: &str, value: Option<T>) -> Error {
        let value = value.map_or_else(|| "none".to_owned(), |value| value.to_string());
        let expected = format!("none, because kernel is {}", self.kernel_word());
        Error::config(field, value, expected)
    }

    fn wrong_kernel(&self, expected: &str) -> Error {
        Error::config("kernel", self.kernel_word(), expected)
    }

    fn structure_word(&self) -> &'static str {
        taps::ConfigEnum::word(&self.structure)
    }

    fn kernel_word(&self) -> &'static str {
        taps::ConfigEnum::word(&self.kernel)
    }

    /// The pattern that the structure is, if it is one, drawn from this seed.
    pub(crate) fn pattern(&self, seed: u64) -> Option<Pattern> {
        let Family::Steps(shape) = self.structure.family() else {
            return None;
        };
        Some(Pattern {
            shape,
            width: self.width?,
            steps: self.steps?,
            radix: self.radix(),
            period: self.period.unwrap_or(3),
            fraction: self.fraction.unwrap_or(0.25),
            seed,
        })
    }

    fn radix(&self) -> u32 {
        let width = self.width.unwrap_or(1);
        match self.structure {
            Structure::Spread => self.radix.unwrap_or(3.min(width)),
            _ => self.radix.unwrap_or(3),
        }
    }

    /// Most tasks of a pattern or a replay that are outstanding at once.
    pub(crate) fn most_outstanding(&self) -> u64 {
        let width = u64::from(self.width.unwrap_or(1));
        match self.window {
            Some(steps) => width * u64::from(steps),
            None => OUTSTANDING.max(2 * width),
        }
    }

    pub(crate) fn imbalance(&self) -> f64 {
        self.kernel_imbalance.unwrap_or(1.0)
    }

    pub(crate) fn data_scale(&self) -> f64 {
        self.replay_data_scale.unwrap_or(REPLAY_DATA_SCALE)
    }

    pub(crate) fn most_bytes(&self) -> u32 {
        self.replay_max_bytes.unwrap_or(REPLAY_MAX_BYTES)
    }

    /// Tasks of a graph that counts them.
    pub(crate) fn expected_tasks(&self) -> u64 {
        let count = u64::from(self.task_count.unwrap_or(0));
        match self.structure {
            Structure::Reduce => count + 1,
            Structure::Diamond => count + 2,
            _ => count,
        }
    }

    /// Inputs with content of such a graph.
    pub(crate) fn expected_verified(&self) -> u64 {
        let count = u64::from(self.task_count.unwrap_or(0));
        match self.structure {
            Structure::Reduce => 2 * count,
            Structure::Diamond => 2 * count + 1,
            _ => count,
        }
    }
}
