//! The documentation: its commands run, what they print is what it says, its links lead somewhere, every page is in the
//! table of contents, and the reference is what the program says today.

mod commands;
mod links;
mod markdown;
mod reference;
mod rust_source;
mod transcript;

use crate::harness::{self, skip};
use markdown::{Block, Elsewhere, Page};
use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// The top of the repository.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository")
}

/// Paths of all pages from the top of the repository: the README and everything in the book.
fn all_pages() -> BTreeSet<String> {
    let root = root();
    let mut pages = BTreeSet::from(["README.md".to_owned()]);
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let page = path.strip_prefix(&root).expect("below the top");
                pages.insert(page.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    pages
}

/// Tests that run the commands of pages, each of one page or of several that go on where the one before ended; and the
/// list of all these pages.
macro_rules! pages {
    ($($name:ident: $($path:literal),+;)*) => {
        /// Pages whose commands are run.
        const RUN: &[&str] = &[$($($path),+),*];

        mod run {
            $(
                #[test]
                fn $name() {
                    super::commands::run_pages(&[$($path),+]);
                }
            )*
        }
    };
}

pages! {
    readme: "README.md";
    tutorial_install: "docs/tutorial/install.md";
    tutorial_first_run: "docs/tutorial/first-run.md", "docs/tutorial/records.md";
    tutorial_compare: "docs/tutorial/compare.md";
    tutorial_faults: "docs/tutorial/faults.md";
    tutorial_own_app: "docs/tutorial/own-app.md", "docs/tutorial/share.md";
    apps_cholesky: "docs/apps/cholesky.md";
    apps_docking: "docs/apps/docking.md";
    apps_fedlearn: "docs/apps/fedlearn.md";
    apps_mapreduce: "docs/apps/mapreduce.md";
    apps_moldesign: "docs/apps/moldesign.md";
    apps_montage: "docs/apps/montage.md";
    apps_physics: "docs/apps/physics.md";
    apps_synthetic: "docs/apps/synthetic.md";
    benchmarks: "docs/benchmarks.md";
    bundles: "docs/bundles/README.md";
    bundles_format: "docs/bundles/format.md";
    bundles_registry: "docs/bundles/registry.md";
    bundles_running: "docs/bundles/running.md";
    configuration: "docs/configuration.md";
    data: "docs/data.md";
    engines: "docs/engines/README.md";
    engines_dask: "docs/engines/dask.md";
    engines_globus: "docs/engines/globus.md";
    engines_hyperqueue: "docs/engines/hyperqueue.md";
    engines_parsl: "docs/engines/parsl.md";
    engines_ray: "docs/engines/ray.md";
    engines_slurm: "docs/engines/slurm.md";
    engines_taskvine: "docs/engines/taskvine.md";
    executors: "docs/executors.md";
    explain: "docs/explain.md";
    export: "docs/export.md";
    faults: "docs/faults.md";
    live: "docs/live.md";
    process_pool: "docs/process-pool.md";
    programs: "docs/programs.md";
    recovery: "docs/recovery.md";
    report: "docs/report.md";
    security: "docs/security.md";
}

#[test]
fn every_page_with_commands_is_run() {
    let with_commands: BTreeSet<String> = all_pages()
        .into_iter()
        .filter(|path| {
            let page = Page::read(path);
            let runs = |block: &Block| block.kind.runs() || !block.dry_runs().is_empty();
            page.blocks.iter().any(runs)
        })
        .collect();
    let run: BTreeSet<String> = RUN.iter().map(|&path| path.to_owned()).collect();
    assert_eq!(
        with_commands, run,
        "pages with commands, and pages that `documentation::run` runs"
    );
}

/// Everything that the documentation tells readers to type and no test of it runs, by page and reason. Whoever adds to
/// it sees that here.
#[test]
fn what_is_not_run_is_known() {
    let mut text = String::new();
    for path in all_pages() {
        for block in Page::read(&path).blocks {
            if let Block {
                kind: markdown::Kind::Elsewhere(reason),
                ..
            } = &block
            {
                let _ = writeln!(text, "{path}: {}", reason.meaning());
                for line in block.text.lines() {
                    let _ = writeln!(text, "    {line}");
                }
            }
        }
    }
    harness::snapshot!("not_run", text);
    for reason in Elsewhere::ALL {
        assert!(text.contains(reason.meaning()), "{reason:?} is not used");
    }
}

/// A command in a block that nobody runs would rot there.
#[test]
fn commands_stand_in_blocks_that_say_so() {
    let mut wrong = Vec::new();
    for path in all_pages() {
        if path.starts_with("docs/reference/") {
            continue;
        }
        for block in Page::read(&path).blocks {
            if block.kind != markdown::Kind::Other {
                continue;
            }
            if let Some(line) = block.text.lines().find(|line| looks_like_a_command(line)) {
                wrong.push(format!("{path}:{}: {line}", block.line));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "commands outside of `sh` and `console`:\n{}",
        wrong.join("\n")
    );
}

fn looks_like_a_command(line: &str) -> bool {
    const PROGRAMS: [&str; 17] = [
        "$ ",
        "taps-wasm ",
        "cargo ",
        "rustup ",
        "apt-get ",
        "pip ",
        "conda ",
        "npm ",
        "python ",
        "python3 ",
        "scripts/",
        "skopeo ",
        "dask ",
        "ray ",
        "hq ",
        "openssl ",
        "docker-registry ",
    ];
    PROGRAMS.iter().any(|program| line.starts_with(program))
        // The picture of what passes between processes begins with the name of the first.
        && !line.contains("──")
}
