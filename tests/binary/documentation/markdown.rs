//! As much of Markdown as the documentation uses: fenced blocks, comments, headings and links.

use std::{collections::BTreeMap, fs, path::Path};

/// A page.
pub(super) struct Page {
    /// From the top of the repository.
    pub(super) path: String,
    /// Fenced blocks, and comments that are run.
    pub(super) blocks: Vec<Block>,
    /// Programs and packages without which the page cannot be run: `<!-- needs: … -->`.
    pub(super) needs: Vec<String>,
    /// The text without its blocks and comments, with the number of each line.
    prose: Vec<(usize, String)>,
}

/// A fenced block, or a comment that is run.
pub(super) struct Block {
    /// Of its first line, from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Commands; the last of them ends with this exit code, and all others well.
    Commands { exit: i32 },
    /// Commands behind `$`, each with what it prints; the last of them ends with this exit code.
    Transcript { exit: i32 },
    /// What readers do not see: files that commands need. `<!-- run`, the commands, `-->`.
    Hidden,
    /// A file that commands take: TOML whose first line is `# NAME.toml`.
    File,
    /// Commands that are not run, and why.
    Elsewhere(Elsewhere),
    /// No commands.
    Other,
}

/// Why commands are not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    Build,
    Cluster,
    Data,
    Install,
    Network,
    Registry,
    Source,
}

impl Elsewhere {
    pub(super) const ALL: [Self; 7] = [
        Self::Build,
        Self::Cluster,
        Self::Data,
        Self::Install,
        Self::Network,
        Self::Registry,
        Self::Source,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Cluster => "cluster",
            Self::Data => "data",
            Self::Install => "install",
            Self::Network => "network",
            Self::Registry => "registry",
            Self::Source => "source",
        }
    }

    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Build => "compiles for minutes",
            Self::Cluster => "needs a cluster, or an account of a service",
            Self::Data => "takes files of the reader's own",
            Self::Install => "installs packages",
            Self::Network => "reaches servers of others",
            Self::Registry => "needs a registry at a known name",
            Self::Source => "is for a checkout of the sources; its tests run it otherwise",
        }
    }
}

impl Kind {
    pub(super) fn runs(self) -> bool {
        matches!(
            self,
            Self::Commands { .. } | Self::Transcript { .. } | Self::Hidden
        )
    }

    /// From what follows the fence: `sh`, `console`, with `exit=N` or `elsewhere=REASON`.
    fn of(info: &str, place: &str) -> Self {
        let mut words = info.split_whitespace();
        let language = words.next().unwrap_or_default();
        if !matches!(language, "sh" | "console") {
            assert!(words.next().is_none(), "{place}: {info}");
            return Self::Other;
        }
        let mut exit = 0;
        for word in words {
            if let Some(reason) = word.strip_prefix("elsewhere=") {
                let found = Elsewhere::ALL.into_iter().find(|one| one.name() == reason);
                return Self::Elsewhere(found.unwrap_or_else(|| panic!("{place}: {info}")));
            }
            let code = word
                .strip_prefix("exit=")
                .and_then(|code| code.parse().ok());
            exit = code.unwrap_or_else(|| panic!("{place}: {info}"));
        }
        match language {
            "sh" => Self::Commands { exit },
            _ => Self::Transcript { exit },
        }
    }
}

impl Block {
    /// Runs that need a cluster or packages: what they are asked to do can be checked without.
    pub(super) fn dry_runs(&self) -> Vec<String> {
        let kind = Kind::Elsewhere;
        if self.kind != kind(Elsewhere::Cluster) && self.kind != kind(Elsewhere::Install) {
            return Vec::new();
        }
        let text = self.text.replace("\\\n", "");
        let runs = text
            .lines()
            .filter(|line| line.starts_with("taps-wasm run "));
        let bare = runs.map(|run| run.split(" #").next().expect("a command"));
        bare.map(|run| format!("{run} --dry-run\n")).collect()
    }

    /// The name in its first line, where that is all that stands there.
    pub(super) fn file(&self) -> Option<&str> {
        let name = self.text.lines().next()?.strip_prefix("# ")?;
        let is_toml = Path::new(name).extension().is_some_and(|end| end == "toml");
        (is_toml && !name.contains([' ', '/'])).then_some(name)
    }
}

impl Page {
    pub(super) fn read(path: &str) -> Self {
        let text = fs::read_to_string(super::root().join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        Self::parse(path, &text)
    }

    fn parse(path: &str, text: &str) -> Self {
        let mut page = Self {
            path: path.to_owned(),
            blocks: Vec::new(),
            needs: Vec::new(),
            prose: Vec::new(),
        };
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let place = format!("{path}:{}", index + 1);
            let mut until = |end: &str| {
                let mut taken = String::new();
                for (_, line) in lines.by_ref() {
                    if line.trim() == end {
                        return taken;
                    }
                    taken.push_str(line);
                    taken.push('\n');
                }
                panic!("{place}: nothing ends what begins here");
            };
            let begun = line.trim_start();
            let (kind, text) = if let Some(info) = begun.strip_prefix("```") {
                let kind = Kind::of(info.trim(), &place);
                (kind, until("```"))
            } else if begun.trim_end() == "<!-- run" {
                (Kind::Hidden, until("-->"))
            } else if let Some(needs) = begun.strip_prefix("<!-- needs:") {
                let needs = needs.trim_end().strip_suffix("-->").expect("a comment");
                page.needs
                    .extend(needs.split_whitespace().map(str::to_owned));
                continue;
            } else {
                page.prose.push((index + 1, line.to_owned()));
                continue;
            };
            let mut block = Block {
                line: index + 1,
                kind,
                text,
            };
            if kind == Kind::Other && block.file().is_some() {
                block.kind = Kind::File;
            }
            page.blocks.push(block);
        }
        page
    }

    /// Targets of links and pictures, with their lines.
    pub(super) fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (number, line) in &self.prose {
            let line = without_code(line);
            let mut rest = line.as_str();
            while let Some(start) = rest.find("](") {
                rest = &rest[start + 2..];
                let end = rest.find(')').expect("the end of a link");
                links.push((*number, rest[..end].to_owned()));
            }
            // A definition: `[name]: target`.
            if let Some((name, target)) = line.split_once("]: ")
                && name.starts_with('[')
            {
                links.push((*number, target.trim().to_owned()));
            }
        }
        links
    }

    /// Anchors of headings, as GitHub and mdBook make them.
    pub(super) fn anchors(&self) -> Vec<String> {
        let mut seen = BTreeMap::new();
        let headings = self.prose.iter().filter(|(_, line)| line.starts_with('#'));
        let anchors = headings.map(|(_, line)| {
            let anchor = slug(line.trim_start_matches('#').trim());
            let times: &mut u32 = seen.entry(anchor.clone()).or_default();
            *times += 1;
            match *times {
                1 => anchor,
                more => format!("{anchor}-{}", more - 1),
            }
        });
        anchors.collect()
    }

    /// The first heading.
    pub(super) fn title(&self) -> Option<&str> {
        let heading = self
            .prose
            .iter()
            .find_map(|(_, line)| line.strip_prefix("# "));
        heading.map(str::trim)
    }
}

/// A line without what stands between backticks, which may look like a link.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("``")
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.collect::<String>().to_lowercase()
}

#[test]
fn blocks_comments_and_links_are_found() {
    let text = "# A `title`: one\n<!-- needs: vina obabel -->\n[a](b.md#c) and `[no](d)`\n```sh exit=4\ntaps-wasm x\n```\n\
                <!-- run\nmkdir books\n-->\n```console elsewhere=cluster\n$ srun\n```\n```\npicture\n```\n[q]: https://e.org\n";
    let page = Page::parse("p.md", text);
    let kinds: Vec<Kind> = page.blocks.iter().map(|block| block.kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Commands { exit: 4 },
            Kind::Hidden,
            Kind::Elsewhere(Elsewhere::Cluster),
            Kind::Other
        ]
    );
    assert_eq!(page.blocks[1].text, "mkdir books\n");
    assert_eq!(page.needs, ["vina", "obabel"]);
    let block = Block {
        line: 1,
        kind: Kind::Elsewhere(Elsewhere::Cluster),
        text: "ray start\ntaps-wasm run x \\\n    --y  # z\n".to_owned(),
    };
    assert_eq!(block.dry_runs(), ["taps-wasm run x     --y  --dry-run\n"]);
    assert_eq!(page.anchors(), ["a-title-one"]);
    let links: Vec<String> = page.links().into_iter().map(|(_, link)| link).collect();
    assert_eq!(links, ["b.md#c", "https://e.org"]);
}
