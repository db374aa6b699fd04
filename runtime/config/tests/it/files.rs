//! Config files: layers, switching, replay.

use crate::fixtures::{args, run, run_in};
use serde_json::json;
use std::fs;
use std::path::Path;
use taps_config::preview;

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).unwrap();
}

#[test]
fn later_layers_win_key_by_key() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "a.toml",
        "[app]\nname = 'cholesky'\nmatrix_size = 10\nblock_size = 5\n[run.env_vars]\nA = '1'\nB = '2'\n",
    );
    write(
        dir.path(),
        "b.toml",
        "[app]\nblock_size = 2\n[run.env_vars]\nB = '3'\n[engine]\nretries = 4\n",
    );
    let both = run_in(
        dir.path(),
        &["-c", "a.toml", "b.toml", "--app.matrix-size", "8"],
    )
    .unwrap();
    assert_eq!(both.app_config["matrix_size"], json!(8));
    assert_eq!(both.app_config["block_size"], json!(2));
    assert_eq!(both.general.engine.retries, 4);
    let variables: Vec<_> = both.general.run.env_vars.values().collect();
    assert_eq!(variables, ["1", "3"]);

    let flag = run_in(
        dir.path(),
        &[
            "-c",
            "a.toml",
            "--config=b.toml",
            "--run.env-vars",
            r#"{"C":"4"}"#,
        ],
    )
    .unwrap();
    let names: Vec<_> = flag.general.run.env_vars.keys().collect();
    assert_eq!(names, ["C"], "a table from a flag replaces");

    let seen = preview(&args(&["-c", "a.toml", "b.toml"]), dir.path());
    assert_eq!(seen.app.as_deref(), Some("cholesky"));
    let place = both.place_of("app.block_size").to_string();
    assert_eq!(place, "b.toml:2: app.block_size");
    assert_eq!(
        both.place_of("app.compat_dag").to_string(),
        "--app.compat-dag"
    );
}

#[test]
fn switching_the_plugin_drops_the_keys_of_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "a.toml",
        "[app]\nname = 'cholesky'\nmatrix_size = 10\nblock_size = 5\n\
         [engine.executor]\nname = 'dask'\nworkers = 8\n\
         [engine.filter]\nname = 'object-size'\nmin_size = 5\n",
    );
    write(
        dir.path(),
        "b.toml",
        "[engine.executor]\nname = 'native'\nmax_threads = 2\n",
    );
    let resolved = run_in(
        dir.path(),
        &[
            "-c", "a.toml", "b.toml", "--filter", "none", "--app", "kinds",
        ],
    )
    .unwrap();
    assert_eq!(resolved.executor, "native");
    assert_eq!(resolved.filter, None);
    assert_eq!(
        resolved.notices,
        [
            "--app: the app is now `kinds` instead of `cholesky`; dropped a.toml:3: app.matrix_size, a.toml:4: app.block_size",
            "b.toml:2: engine.executor.name: the executor is now `native` instead of `dask`; dropped a.toml:7: engine.executor.workers",
            "--filter: the filter is now `none` instead of `object-size`; dropped a.toml:10: engine.filter.min_size",
        ]
    );
}

#[test]
fn a_section_may_be_just_the_name() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "a.toml",
        "app = 'kinds'\nengine.executor = 'Thread_Pool'\n",
    );
    let resolved = run_in(dir.path(), &["-c", "a.toml"]).unwrap();
    assert_eq!(resolved.executor, "thread-pool");
}

/// The examples of TaPS's documentation, for the sections and apps that we have.
#[test]
fn configs_of_taps_work_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("maildir")).unwrap();
    let examples = [
        "[app]\nname = \"cholesky\"\nmatrix_size = 100\nblock_size = 25\n\n[engine.executor]\nname = \"thread-pool\"\nmax_threads = 4\n\n[logging]\nlevel = \"INFO\"\nfile_level = \"TRACE\"\nfile_name = \"log.txt\"\n\n[run]\ndir_format = \"runs/{name}_{executor}_{timestamp}\"\n",
        "version = \"0.2.3\"\n[app]\nname = \"mapreduce\"\ndata_dir = \"maildir\"\nmap_tasks = 16\n[engine]\ntask_record_file_name = \"tasks.jsonl\"\n[run.env_vars]\nOMP_NUM_THREADS = \"1\"\n[logging]\nlevel = 20\n",
        "[app]\nname = \"synthetic\"\nstructure = \"BAG\"\ntask_count = 100\nbag_max_running = 8\ntask_sleep = 1\n",
    ];
    for (index, example) in examples.iter().enumerate() {
        write(dir.path(), "taps.toml", example);
        let resolved = run_in(dir.path(), &["-c", "taps.toml"]).unwrap();
        assert_eq!(
            resolved.notices.len(),
            usize::from(index == 1),
            "version only warns"
        );
    }
}

#[test]
fn config_toml_replays_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let resolved = run_in(
        dir.path(),
        &[
            "kinds",
            "--logging.file-name",
            "none",
            "--engine.task-record-file-name",
            "none",
            "--app.dir",
            ".",
            "--app.text",
            "a \"b\"\\\n\u{7f}é",
            "--app.texts",
            "[]",
            "--seed",
            "9",
            "--app.config",
            r#"{"z": 1, "a": {"x y": [1.5, true, 1e300]}, "n": null}"#,
            "--task-memory",
            "1.5 GB",
            "--log-level",
            "7",
            "--run.env-vars.A",
            "1",
        ],
    )
    .unwrap();
    let text = resolved.to_toml();
    insta::with_settings!({filters => vec![(dir.path().to_str().unwrap(), "[DIR]")]}, {
        insta::assert_snapshot!(text);
    });
    write(dir.path(), "config.toml", &text);
    let replayed = run_in(dir.path(), &["-c", "config.toml"]).unwrap();
    assert_eq!(replayed.to_toml(), text);
    assert_eq!(replayed.general, resolved.general);
    assert_eq!(replayed.grants, resolved.grants);
    assert_eq!(replayed.notices, [""; 0]);
}

#[test]
fn defaults_replay_too() {
    let dir = tempfile::tempdir().unwrap();
    let line = ["cholesky", "--app.matrix-size=4", "--app.block-size=2"];
    let text = run(&line).unwrap().to_toml();
    insta::assert_snapshot!(text);
    write(dir.path(), "config.toml", &text);
    let replayed = run_in(dir.path(), &["-c", "config.toml"]).unwrap();
    assert_eq!(replayed.to_toml(), text);
}

#[test]
fn another_version_is_only_a_notice() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.toml", "version = '9.9'\napp = 'kinds'\n");
    let resolved = run_in(dir.path(), &["-c", "a.toml"]).unwrap();
    let expected = format!(
        "a.toml:1: version: written by version `9.9`; this is {}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(resolved.notices, [expected]);
}
